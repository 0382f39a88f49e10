"""What the plugin reads of a VirtualMachineInstance: its NICs on vhost-user, each of its type or refused."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from virtnet.api.fields import Fields, WrongType
from virtnet.api.grammar import NIC_MAC
from virtnet.api.kubevirt import MOST_INTERFACES
from virtnet.api.multus import POD_INTERFACE
from virtnet.api.names import pod_interface
from virtnet.api.nic_kinds import VHOSTUSER_BINDING
from virtnet.api.vhostuser import LAUNCHER_SOCKETS, socket_name
from virtnet.binding import DomainRefused
from virtnet.binding.network_info import NetworkInfo, NicInfo

_NAME = re.compile("[A-Za-z0-9_-]{1,253}")
_PCI_ADDRESS = re.compile("([0-9a-fA-F]{4}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})[.]([0-7])")


@dataclass(frozen=True)
class VhostUserNic:
    """One NIC of a VM that a switch in userspace serves."""

    network: str
    interface: str
    """Its interface in the launcher pod, as CNI is told."""
    mac: str
    mtu: int | None = None
    """None: nobody said, and the guest learns it by DHCP or router advertisements."""
    multiqueue: bool = False
    """A pair of queues for each vCPU."""
    transitional: bool = False
    """Whether old guests' drivers must find it."""
    link_up: bool = True
    boot_order: int = 0
    """0: never."""
    acpi_index: int = 0
    """0: none."""
    pci_address: str = ""
    """Empty: any."""

    @property
    def socket(self) -> str:
        """The same in every pod of the VM's, because a migration's target is given the source's XML.

        >>> VhostUserNic("blue", "pod16477688c0e", "02:00:00:00:00:01").socket
        '/var/run/kubevirt/vhostuser-pod16477688c0e.sock'
        """
        return f"{LAUNCHER_SOCKETS}/{socket_name(self.interface)}"

    @property
    def alias(self) -> str:
        return f"ua-{self.network}"


def nics_of(vmi: bytes, info: NetworkInfo) -> tuple[VhostUserNic, ...]:
    """The NICs that are bound by the plugin. Raises DomainRefused, for the first that it cannot serve."""
    instance = _Instance.parse(vmi)
    try:
        return tuple(_nic(instance, interface, info) for interface in instance.bound)
    except WrongType as error:
        raise DomainRefused(f"VMI: {error}") from None


@dataclass(frozen=True)
class _Instance:
    devices: Fields
    bound: tuple[Fields, ...]
    networks: Mapping[str, Fields]

    @classmethod
    def parse(cls, vmi: bytes) -> "_Instance":
        """Raises DomainRefused."""
        try:
            whole = json.loads(vmi)
        except (ValueError, RecursionError) as error:
            raise DomainRefused(f"VMI: not JSON: {error}") from None
        if not isinstance(whole, Mapping):
            raise DomainRefused("VMI: must be an object")
        try:
            return cls._of(Fields(whole).object("spec"))
        except WrongType as error:
            raise DomainRefused(f"VMI: {error}") from None

    @classmethod
    def _of(cls, spec: Fields) -> "_Instance":
        devices = spec.object("domain").object("devices")
        interfaces = list(devices.objects("interfaces", most=MOST_INTERFACES))
        bound = tuple(one for one in interfaces if one.object("binding").text("name") == VHOSTUSER_BINDING)
        if not bound:  # KubeVirt starts the sidecar beside VMs that ask for it alone, by the name that it knows it by
            raise DomainRefused(f"VMI: no interface is bound by {VHOSTUSER_BINDING}; register the plugin by this name")
        attached = tuple(one for one in bound if one.text("state") != "absent")
        names = [one.text("name") for one in attached]
        if (odd := next((name for name in names if not _NAME.fullmatch(name)), None)) is not None:
            raise DomainRefused(f"VMI: interface {odd[:40]!r}: its name must be of letters, digits, '-' and '_'")
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise DomainRefused(f"VMI: two interfaces are called {twice}; give them different names")
        return cls(devices, attached, {one.text("name"): one for one in spec.objects("networks", most=MOST_INTERFACES)})


def _nic(instance: _Instance, interface: Fields, info: NetworkInfo) -> VhostUserNic:
    name = interface.text("name")
    network = instance.networks.get(name)
    if network is None or not ("multus" in network or "pod" in network):
        raise DomainRefused(
            f"VMI: interface {name}: its network is neither of Multus nor the pod network;"
            f" {VHOSTUSER_BINDING} serves no other"
        )
    if (model := interface.text("model")) not in {"", "virtio"}:
        raise DomainRefused(f"VMI: interface {name}: model {model}: vhost-user NICs are virtio; remove the model")
    known = info.get(name, NicInfo())
    in_place = "pod" in network or network.object("multus").flag("default")
    return VhostUserNic(
        network=name,
        interface=POD_INTERFACE if in_place else pod_interface(name),
        mac=_mac(name, interface.text("macAddress") or known.mac),
        mtu=known.mtu,
        multiqueue=instance.devices.flag("networkInterfaceMultiqueue"),
        transitional=instance.devices.flag("useVirtioTransitional"),
        link_up=interface.text("state") != "down",
        boot_order=_number(interface, "bootOrder"),
        acpi_index=_number(interface, "acpiIndex"),
        pci_address=_pci_address(name, interface.text("pciAddress")),
    )


def _mac(name: str, text: str) -> str:
    mac = text.lower().replace("-", ":")
    if not mac:
        raise DomainRefused(
            f"VMI: interface {name}: nobody says its MAC; write macAddress, or use a KubeVirt of 1.8 or newer"
        )
    if not NIC_MAC.permits(mac):
        raise DomainRefused(f"VMI: interface {name}: macAddress {text[:40]!r} {NIC_MAC.must}")
    return mac


def _number(interface: Fields, field: str) -> int:
    """A number that KubeVirt has from 1 on; 0 where there is none."""
    value = interface.value.get(field)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise WrongType(f"{interface.path}.{field}", "a number from 1 on", value)
    return value


def _pci_address(name: str, text: str) -> str:
    if text and not _PCI_ADDRESS.fullmatch(text):
        raise DomainRefused(f"VMI: interface {name}: pciAddress {text[:40]!r} must be like 0000:81:01.0")
    return text
