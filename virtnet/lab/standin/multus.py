"""What Multus does for a pod: reads its network selection, calls the plugins, reports what they made."""

import json
import os
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface

from virtnet.lab.standin.command import execute
from virtnet.lab.standin.kubevirt import DEFAULT_NETWORK, NETWORKS, Object
from virtnet.lab.standin.settings import Node
from virtnet.lab.standin.worker import Hitch

NO_NETWORK = "cluster-default"
"""Stands for the cluster's own network, which no lab has: its address is only written down."""


class BadSelection(Exception):  # noqa: N818 - says what is wrong
    """The networks annotation, or a NetworkAttachmentDefinition, cannot be used."""


class PluginError(Hitch):
    """A CNI plugin failed; the message is its own."""


@dataclass(frozen=True)
class Selection:
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

    node: Node
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


def selections(annotation: str, namespace: str) -> list[Selection]:
    """Both forms: ``ns/nad@if,nad2`` and JSON. Raises BadSelection.

    >>> selections("blue, other/red@eth7", "demo")[1]
    Selection(namespace='other', name='red', interface='eth7', mac='', ips=(), cni_args={})
    """
    text = annotation.strip()
    if not text:
        return []
    elements = _parsed(text) if text[0] in "[{" else [_short(part.strip()) for part in text.split(",")]
    return [
        Selection(
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


def chosen(pod: Object) -> list[Selection]:
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


def configuration(selection: Selection, nad: Object | None) -> Object:
    """What the plugin gets on its standard input. Raises BadSelection."""
    where = f"{selection.namespace}/{selection.name}"
    if nad is None:
        raise BadSelection(f'cannot find a network-attachment-definition ({selection.name}) in namespace "{where}"')
    try:
        config: Object = json.loads(nad["spec"]["config"])
    except (KeyError, json.JSONDecodeError) as problem:
        raise BadSelection(f"the configuration of {where} cannot be read: {problem}") from problem
    if "type" not in config:
        raise BadSelection(f"the configuration of {where} has no type; lists of plugins are not played")
    config.setdefault("name", selection.name)
    wanted = {"mac": selection.mac, "ips": list(selection.ips)}
    able = config.get("capabilities", {})
    runtime = {name: value for name, value in wanted.items() if value and able.get(name)}
    if runtime:
        config["runtimeConfig"] = runtime
    if selection.cni_args:
        config["args"] = {"cni": selection.cni_args}
    return config


async def call(command: str, sandbox: Sandbox, interface: str, config: Object) -> Object:
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


def network_status(address: str, attached: list[tuple[str, str, Object]]) -> str:
    """The annotation ``network-status``: of the default network, and of (``ns/nad``, interface, result)s."""
    found = [_status(*one) for one in attached]
    for one in found:
        if one["interface"] == "eth0":
            one["default"] = True
            return json.dumps(found, indent=4)
    mac = "0a:58:" + ":".join(f"{int(part):02x}" for part in address.split("."))
    default = {"name": NO_NETWORK, "interface": "eth0", "ips": [address], "mac": mac, "default": True, "dns": {}}
    return json.dumps([default, *found], indent=4)


def _status(name: str, interface: str, result: Object) -> Object:
    inside = [one for one in result.get("interfaces", ()) if one.get("sandbox")]
    mac = next((one["mac"] for one in inside if one.get("mac")), "")
    ips = [str(ip_interface(ip["address"]).ip) for ip in result.get("ips", ())]
    status: Object = {"name": name, "interface": interface}
    if ips:
        status["ips"] = ips
    if mac:
        status["mac"] = mac
    return {**status, "dns": result.get("dns") or {}}
