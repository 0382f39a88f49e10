"""What Multus does for a pod: reads its network selection, deals devices, calls the plugins, reports what they made."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface

from virtnet.api.meta import annotations_of
from virtnet.lab.standin import device_info
from virtnet.lab.standin.command import execute
from virtnet.lab.standin.kubevirt import DEFAULT_NETWORK, NETWORKS, Object
from virtnet.lab.standin.settings import StandinNode
from virtnet.lab.standin.worker import Hitch

RESOURCE = "k8s.v1.cni.cncf.io/resourceName"
"""On a NAD: whose pods have a device of this resource for it."""

NO_NETWORK = "cluster-default"
"""Stands for the cluster's own network, which no lab has: its address is only written down."""


class BadSelection(Exception):  # noqa: N818 - says what is wrong
    """The networks annotation, or a NetworkAttachmentDefinition, cannot be used."""


class PluginError(Hitch):
    """A CNI plugin failed; the message is its own."""


@dataclass(frozen=True)
class NetworkSelectionElement:
    """One element of the annotation ``k8s.v1.cni.cncf.io/networks``."""

    namespace: str
    name: str
    interface: str
    mac: str = ""
    ips: tuple[str, ...] = ()
    cni_args: Object = field(default_factory=dict)

    @property
    def nad(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Sandbox:
    """What CNI plugins are told of a pod."""

    node: StandinNode
    netns: str
    container: str
    namespace: str
    pod: str
    uid: str

    def environment(self, command: str, interface: str) -> dict[str, str]:
        arguments = {
            "IgnoreUnknown": "true",
            "K8S_POD_NAMESPACE": self.namespace,
            "K8S_POD_NAME": self.pod,
            "K8S_POD_INFRA_CONTAINER_ID": self.container,
            "K8S_POD_UID": self.uid,
        }
        return {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.container,
            "CNI_NETNS": f"/run/netns/{self.netns}",
            "CNI_IFNAME": interface,
            "CNI_ARGS": ";".join(f"{name}={text}" for name, text in arguments.items()),
            "CNI_PATH": str(self.node.cni_bin),
        }


def selections(annotation: str, namespace: str) -> list[NetworkSelectionElement]:
    """Both forms: ``ns/nad@if,nad2`` and JSON. Raises BadSelection.

    >>> selections("blue, other/red@eth7", "demo")[1]
    NetworkSelectionElement(namespace='other', name='red', interface='eth7', mac='', ips=(), cni_args={})
    """
    text = annotation.strip()
    if not text:
        return []
    elements = _parsed(text) if text[0] in "[{" else [_short(part.strip()) for part in text.split(",")]
    return [
        NetworkSelectionElement(
            namespace=element.get("namespace") or namespace,
            name=element["name"],
            interface=element.get("interface") or f"net{number}",
            mac=element.get("mac", ""),
            ips=tuple(element.get("ips", ())),
            cni_args=element.get("cni-args") or {},
        )
        for number, element in enumerate(elements, start=1)
        if element.get("state") != "absent"
    ]


def chosen(pod: Object) -> list[NetworkSelectionElement]:
    """All that a pod asks for: what takes the place of the cluster's own network, and what comes besides."""
    annotations, namespace = pod["metadata"].get("annotations", {}), pod["metadata"]["namespace"]
    first = selections(annotations.get(DEFAULT_NETWORK, ""), namespace)
    return [*(replace(one, interface="eth0") for one in first), *selections(annotations.get(NETWORKS, ""), namespace)]


def _parsed(text: str) -> list[Object]:
    try:
        elements = json.loads(text)
    except json.JSONDecodeError as problem:
        raise BadSelection(f"the networks annotation is no JSON: {problem}") from problem
    if not isinstance(elements, list) or not all(isinstance(one, dict) and one.get("name") for one in elements):
        raise BadSelection("the networks annotation is no list of objects with a name")
    return elements


def _short(text: str) -> Object:
    path, _, interface = text.partition("@")
    namespace, _, name = path.rpartition("/")
    return {"namespace": namespace, "name": name, "interface": interface}


def resource_of(nad: Object | None) -> str:
    """The resource of which pods have a device for a NAD; empty for none."""
    return annotations_of(nad).get(RESOURCE, "") if nad else ""


def deal(resources: Iterable[str], devices: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A device for each network, by its NAD's resource: the next one in order; empty where it has none.

    >>> [*deal(["x/vf", "", "x/vf", "x/vf"], {"x/vf": ["a", "b"]})]
    ['a', '', 'b', '']
    """
    given = Counter[str]()
    for resource in resources:
        ids = devices.get(resource, ())
        yield ids[given[resource]] if given[resource] < len(ids) else ""
        given[resource] += 1


@dataclass(frozen=True)
class Device:
    """What a network gets of a pod's devices."""

    resource: str = ""
    id: str = ""


@dataclass
class PodNic:
    """One NIC: the calls of its plugins, and what they gave; ``result`` is None until all have answered."""

    interface: str
    nad: str
    plugins: list[Object]
    """What each gets on its standard input, in order."""
    device_info: str = ""
    """Path of the file that says what its device is; empty for none."""
    result: Object | None = None
    device: Object | None = None
    """What that file said then."""


def nic_of(selection: NetworkSelectionElement, nad: Object | None, container: str, device: Device) -> PodNic:
    """A NIC that is to be made, its device's file begun with what the device plugin says. Raises BadSelection."""
    where = f"{selection.namespace}/{selection.name}"
    if nad is None:
        raise BadSelection(f'cannot find a network-attachment-definition ({selection.name}) in namespace "{where}"')
    try:
        config: Object = json.loads(nad["spec"]["config"])
    except (KeyError, json.JSONDecodeError) as problem:
        raise BadSelection(f"the configuration of {where} cannot be read: {problem}") from problem
    name = config.setdefault("name", selection.name)
    path = device_info.path_of(name, container, selection.interface) if device.id else ""
    if path:
        device_info.copy(device.resource, device.id, path)
    wanted = {"mac": selection.mac, "ips": list(selection.ips), "deviceID": device.id, "CNIDeviceInfoFile": path}
    common = {"cniVersion": config["cniVersion"], "name": name} if "cniVersion" in config else {"name": name}
    if device.id:
        common |= {"deviceID": device.id, "pciBusID": device.id}
    if selection.cni_args:
        common["args"] = {"cni": selection.cni_args}
    plugins = [_plugin(plugin, common, wanted, where) for plugin in config.get("plugins", [config])]
    return PodNic(selection.interface, selection.nad, plugins, path)


def _plugin(config: Object, common: Object, wanted: Object, where: str) -> Object:
    if "type" not in config:
        raise BadSelection(f"the configuration of {where} has a plugin without a type")
    able = config.get("capabilities", {})
    runtime = {name: value for name, value in wanted.items() if value and able.get(name)}
    return {**config, **common, **({"runtimeConfig": runtime} if runtime else {})}


async def add(sandbox: Sandbox, nic: PodNic) -> None:
    """Call a NIC's plugins, each with what those before it gave. Raises PluginError."""
    result: Object | None = None
    for config in nic.plugins:
        previous = {"prevResult": result} if result is not None else {}
        result = await _call("ADD", sandbox, nic.interface, {**config, **previous})
    nic.result, nic.device = result, device_info.read(nic.device_info)


async def delete(sandbox: Sandbox, nic: PodNic) -> None:
    """Raises PluginError."""
    previous = {"prevResult": nic.result} if nic.result else {}
    for config in reversed(nic.plugins):
        await _call("DEL", sandbox, nic.interface, {**config, **previous})
    device_info.remove(nic.device_info)


async def _call(command: str, sandbox: Sandbox, interface: str, config: Object) -> Object:
    """Run the plugin on the pod's node; its result. Raises PluginError."""
    plugin = sandbox.node.cni_bin / config["type"]
    code, out, err = await execute(
        *("ip", "netns", "exec", sandbox.node.netns, str(plugin)),
        stdin=json.dumps(config),
        environment=sandbox.environment(command, interface),
    )
    try:
        answer: Object = json.loads(out) if out.strip() else {}
    except json.JSONDecodeError:
        answer = {"msg": out.strip()}
    if code:
        said = ": ".join(part for part in (answer.get("msg"), answer.get("details")) if part)
        raise PluginError(f"{config['type']} {command} {interface}: {said or err.strip() or f'exit code {code}'}")
    return answer


def network_status(address: str, nics: Iterable[PodNic]) -> str:
    """The annotation ``network-status``: of the default network, and of NICs."""
    found = [_status(nic) for nic in nics]
    for one in found:
        if one["interface"] == "eth0":
            one["default"] = True
            return json.dumps(found, indent=4)
    mac = "0a:58:" + ":".join(f"{int(part):02x}" for part in address.split("."))
    default = {"name": NO_NETWORK, "interface": "eth0", "ips": [address], "mac": mac, "default": True, "dns": {}}
    return json.dumps([default, *found], indent=4)


def _status(nic: PodNic) -> Object:
    result = nic.result or {}
    inside = [one for one in result.get("interfaces", ()) if one.get("sandbox")]
    mac = next((one["mac"] for one in inside if one.get("mac")), "")
    ips = [str(ip_interface(ip["address"]).ip) for ip in result.get("ips", ())]
    status: Object = {"name": nic.nad, "interface": nic.interface}
    if ips:
        status["ips"] = ips
    if mac:
        status["mac"] = mac
    status["dns"] = result.get("dns") or {}
    return {**status, "device-info": nic.device} if nic.device else status
