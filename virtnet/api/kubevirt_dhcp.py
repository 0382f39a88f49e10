"""What a VirtualMachine's manifest wants its guest to be told by DHCP: KubeVirt's ``dhcpOptions`` and ``hostname``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from virtnet.api.addresses import is_ipv4
from virtnet.api.grammar import BOOT_FILE, DOMAIN_NAME, HOST_NAME
from virtnet.api.guest import GuestDhcp

WPAD = 252
"""The one of the private options that OVN knows."""

LONGEST_TEXT, MOST_SERVERS = 127, 6

_NONE: Mapping[str, Any] = {}
"""What most have alike."""


@dataclass(frozen=True, slots=True)
class WantedDhcp:
    """What can be served of it, and what cannot."""

    hostname: str = ""
    by_network: Mapping[str, GuestDhcp] = field(default_factory=dict)
    """Without the name. Only of NICs that want anything."""
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Network -> why, for people."""

    def of(self, network: str) -> GuestDhcp:
        return self.by_network.get(network, GuestDhcp()).model_copy(update={"hostname": self.hostname})


def wanted_dhcp(body: Mapping[str, Any]) -> WantedDhcp:
    """Of a VirtualMachine. What is of another type than KubeVirt's schema says counts as absent."""
    return _wanted(body, _at(body, "spec", "template", "spec"))


def wanted_by_instance(body: Mapping[str, Any]) -> WantedDhcp:
    """Of a VirtualMachineInstance, likewise."""
    return _wanted(body, _at(body, "spec"))


def _wanted(body: Mapping[str, Any], spec: Mapping[str, Any]) -> WantedDhcp:
    # As KubeVirt names guests: the first label, cut where it is too long.
    name = str(spec.get("hostname") or body["metadata"].get("name") or "").partition(".")[0][:63].rstrip("-")
    wanted, left = {}, {}
    for interface in _objects(_at(spec, "domain", "devices").get("interfaces")):
        network, dhcp_options = interface.get("name"), interface.get("dhcpOptions")
        if not isinstance(network, str) or not isinstance(dhcp_options, Mapping):
            continue
        problems: list[str] = []
        wanted[network] = GuestDhcp(**dict(_served(dhcp_options, problems)))
        if problems:
            left[network] = tuple(problems)
    return WantedDhcp(name if HOST_NAME.permits(name) else "", wanted or _NONE, left or _NONE)


def _served(dhcp_options: Mapping[str, Any], problems: list[str]) -> Iterator[tuple[str, Any]]:
    """The fields; what cannot be served is told in ``problems``."""
    for name, key, grammar in (
        ("bootFileName", "boot_file_name", BOOT_FILE),
        ("tftpServerName", "tftp_server", DOMAIN_NAME),
    ):
        text = dhcp_options.get(name)
        if text and isinstance(text, str) and grammar.permits(text) and len(text) <= LONGEST_TEXT:
            yield key, text
        elif text:
            problems.append(f"{name} {text!r:.40} {grammar.must}, of at most {LONGEST_TEXT} bytes")
    servers = dhcp_options.get("ntpServers")
    servers = [one for one in servers if isinstance(one, str)] if isinstance(servers, list) else []
    known = [one for one in servers if is_ipv4(one)]
    yield "ntp_servers", tuple(known[:MOST_SERVERS])
    rest = (*(one for one in servers if one not in known), *known[MOST_SERVERS:])
    problems += [f"ntpServers: {one!r:.40} is left out: at most {MOST_SERVERS} IPv4 addresses are told" for one in rest]
    for option in _objects(dhcp_options.get("privateOptions")):
        number, value = option.get("option"), option.get("value")
        if number == WPAD and isinstance(value, str) and BOOT_FILE.permits(value) and len(value) <= LONGEST_TEXT:
            yield "proxy_url", value
        else:
            problems.append(f"privateOptions: option {number!r:.10} is left out: OVN has {WPAD} alone, for a URL")


def _at(body: Any, *names: str) -> Mapping[str, Any]:
    for name in names:
        body = body.get(name) if isinstance(body, Mapping) else None
    return body if isinstance(body, Mapping) else {}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else iter(())
