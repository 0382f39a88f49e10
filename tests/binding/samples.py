"""A VMI and its domain, as virt-launcher hands them to its sidecars."""

import json
from typing import Any

from virtnet.api.nic_kinds import VHOSTUSER_BINDING
from virtnet.binding.nics import VhostUserNic

BLUE = VhostUserNic("blue", "pod16477688c0e", "02:00:00:00:00:01", 1400)
RED = VhostUserNic("red", "podb1f51a511f1", "02:00:00:00:00:02", 1342)

DOMAIN = b"""<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
	<name>demo_db</name>
	<memory unit="b">268435456</memory>
	<os>
		<type arch="x86_64" machine="q35">hvm</type>
		<smbios mode="sysinfo"></smbios>
	</os>
	<sysinfo type="smbios"><system><entry name="family">K&amp;V &#xe9; \xc3\xa9</entry></system></sysinfo>
	<devices>
		<emulator>/usr/bin/qemu-system-x86_64</emulator>
		<interface type="ethernet">
			<source></source>
			<target dev="tap0" managed="no"></target>
			<model type="virtio-non-transitional"></model>
			<mac address="02:00:00:00:00:99"></mac>
			<mtu size="1450"></mtu>
			<alias name="ua-default"></alias>
			<rom enabled="no"></rom>
		</interface>
		<controller type="usb" index="0" model="none"></controller>
		<disk device="disk" type="file">
			<source file="/var/run/kubevirt-ephemeral-disks/disk.qcow2"></source>
			<target bus="virtio" dev="vda"></target>
			<driver cache="none" error_policy="stop" name="qemu" type="qcow2" discard="unmap"></driver>
			<alias name="ua-containerdisk"></alias>
		</disk>
	</devices>
	<!-- what another sidecar has left -->
	<metadata>
		<kubevirt xmlns="http://kubevirt.io">
			<uid>0</uid>
			<graceperiod><deletionGracePeriodSeconds>30</deletionGracePeriodSeconds></graceperiod>
		</kubevirt>
	</metadata>
	<features>
		<acpi></acpi>
	</features>
	<cpu mode="host-model">
		<topology sockets="2" cores="1" threads="1"></topology>
	</cpu>
	<vcpu placement="static">2</vcpu>
	<iothreads>1</iothreads>
</domain>
"""
"""In the form of Go's MarshalIndent, with what an XML library would write in another way."""


def bound(name: str = "blue", mac: str = "02:00:00:00:00:01", **more: Any) -> dict[str, Any]:
    """An interface that is bound by the plugin."""
    return {"name": name, "macAddress": mac, "binding": {"name": VHOSTUSER_BINDING}, **more}


def vmi(*interfaces: dict[str, Any], networks: list[dict[str, Any]] | None = None, **devices: Any) -> bytes:
    """With a Multus network for each interface, or with others."""
    of_each = [{"name": one["name"], "multus": {"networkName": f"{one['name']}-net"}} for one in interfaces]
    spec = {
        "domain": {"devices": {"interfaces": interfaces, **devices}},
        "networks": of_each if networks is None else networks,
    }
    return json.dumps({"kind": "VirtualMachineInstance", "metadata": {"name": "db"}, "spec": spec}).encode()
