"""What tests of policies share: OVN's databases with its own verdicts, and the packets that are asked about."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.policies.oracle import Endpoint, Manifest, Packet
from tests.policies.tracing import Tracer, tracing
from tests.policies.world import PODS_ON, port_of
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.difference import difference
from virtnet.topology.names import row_name, switch_key
from virtnet.topology.rows import Row

PROBES = [("TCP", 80, 4), ("UDP", 81, 6)]
"""Of those cases that are about peers."""
MORE_PROBES = [("TCP", 80, 4), ("TCP", 81, 6), ("UDP", 80, 6), ("UDP", 81, 4), ("SCTP", 80, 4), ("SCTP", 81, 6)]


def packets(policies: Iterable[Manifest], among: Sequence[Endpoint]) -> Iterator[Packet]:
    is_of_ports = any(one.get("ports") for policy in policies for rules in _rules(policy) for one in rules)
    for source in among:
        for target in among:
            if source is not target:
                for protocol, port, version in MORE_PROBES if is_of_ports else PROBES:
                    yield Packet(source, target, protocol, port, version)


def _rules(policy: Manifest) -> Iterator[Sequence[Manifest]]:
    yield policy["spec"].get("ingress") or ()
    yield policy["spec"].get("egress") or ()


def microflow(packet: Packet) -> str:
    source, target = port_of(packet.source), port_of(packet.target)
    name = packet.protocol.lower()
    flags = " && tcp.flags == 2" if name == "tcp" else ""
    ip = f"ip{packet.version}"
    return (
        f'inport == "{source.key}" && eth.src == {source.spec.mac_address} && eth.dst == {target.spec.mac_address}'
        f" && {ip}.src == {packet.source_address} && {ip}.dst == {packet.target_address} && ip.ttl == 64"
        f" && {name}.src == 4000 && {name}.dst == {packet.port}{flags}"
    )


def passes(tracer: Tracer, packet: Packet) -> bool:
    said = tracer.trace(row_name(switch_key(PODS_ON.ref)), microflow(packet))
    return f'output to "{port_of(packet.target).key}"' in said


class Checked:
    """OVN's databases, and its verdicts on what is written there."""

    def __init__(self, ovn: OvnCentral, northbound: OvsdbNorthbound) -> None:
        self._ovn, self._northbound = ovn, northbound

    async def wrong(
        self, name: str, rows: Sequence[Row], right: Callable[[Packet], bool], packets: Iterable[Packet]
    ) -> list[str]:
        """What OVN does with these rows otherwise than is right."""
        await self._northbound.commit(difference(rows, self._northbound.observed()))
        with tracing(self._ovn) as tracer:
            return [
                f"{name}: {one.source.key} to {one.target.key}, {one.protocol} {one.port}, IPv{one.version}: "
                f"{'must not pass' if is_wrong else 'must pass'}"
                for one in packets
                if (is_wrong := passes(tracer, one)) != right(one)
            ]


@pytest.fixture
async def checked(tmp_path: Path) -> AsyncIterator[Checked]:
    ovn = OvnCentral(tmp_path)
    ovn.start()
    try:
        async with OvsdbNorthbound(ovn.remote("nb")) as northbound:
            yield Checked(ovn, northbound)
    finally:
        ovn.destroy()
