"""Hostile text in any string of any kind: refused, or harmless; shown by what a real OVN makes of the rows."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.safety.conftest import Chassis
from tests.safety.manifests import NAMESPACE, Place, manifest, places, with_text
from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.api import ClusterSubnet, ClusterVpc, Port, Resource, Subnet, Vpc
from virtnet.api.grammar import Ungrammatical
from virtnet.api.strings import invalid
from virtnet.features import MODELS
from virtnet.handoff.options import ChassisOptions
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_dhcp4_rows, port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.rows import Row
from virtnet.topology.switch import NO_NEIGHBOURS

MARK = "HOSTILE"
TEXTS = (
    f'{MARK}"); reg0[3] = 0; eth.dst = 0a:d8:1d:c4:27:56; ip4.src = 10.50.0.133; next; //',
    f"{MARK}\\",
    f'{MARK}"',
    f"{MARK}" + "}",
    "{" + MARK,
    f"10.0.0.9%{MARK}); next; //",
    f'fe80::1%{MARK}"); next; //',
    f"10.0.0.9, {MARK}",
    f"02:76:6e:00:00:05 {MARK}",
    f"${MARK}",
    f"@{MARK} || 1",
    f"{MARK},other:br-int",
    f"../../{MARK}",
    f"{MARK}\n",
    f"{MARK} ",
    "unknown",
    "dynamic",
    "router",
    "0.0.0.0/0",
    "",
    "\\",
    '"',
)
"""What an attacker would write. The mark is followed or preceded by what no grammar takes."""
PLACES = [place for kind in MODELS for place in places(kind)]
BASE = ClusterSubnet.parse({**manifest(ClusterSubnet, 1), "metadata": {"name": "base"}})
PLAIN = Port.parse(
    {
        "metadata": {"name": "db.blue", "namespace": "demo"},
        "spec": {
            "owner": {"kind": "VirtualMachine", "name": "db"},
            "network": "blue",
            "networkAttachmentDefinition": "demo/blue",
            "subnet": BASE.ref.model_dump(),
            "macAddress": "02:76:6e:00:00:05",
            "addresses": [str(BASE.spec.networks[0][20])],
            "dhcp": {"hostname": "db-1"},
        },
    }
)


def compiled(resource: Resource, number: int) -> list[Row]:
    """Its rows, and for a Subnet those of a NIC in it. The pools are another's: here rows are held to the types."""
    match resource:
        case Vpc() | ClusterVpc():
            return vpc_rows(resource)
        case Subnet() | ClusterSubnet():
            pools = pools_of(type(resource).parse(manifest(type(resource), number)))
            nic = PLAIN.model_copy(
                update={
                    "metadata": PLAIN.metadata.model_copy(update={"name": f"nic{number}"}),
                    "spec": PLAIN.spec.model_copy(
                        update={"subnet": resource.ref, "addresses": (str(pools[0].network[20]),)}
                    ),
                }
            )
            named = Vpc if resource.spec.vpc.kind == "Vpc" else ClusterVpc
            metadata = {"name": resource.spec.vpc.name, "namespace": NAMESPACE if named is Vpc else ""}
            router = vpc_rows(named.parse({"metadata": metadata}))
            return [*router, *subnet_rows(resource, pools), *port_rows(nic, resource, ChassisOptions())]
        case Port():
            own = port_dhcp4_rows(resource, BASE, pools_of(BASE), NO_NEIGHBOURS)
            return [*own, *port_rows(resource, BASE, ChassisOptions())]
        case _:
            return []


def attempt(place: Place, text: str, number: int) -> list[Row]:
    """The rows of an object with this text; none where it is refused."""
    body = with_text(manifest(place.kind, number), place.path, text)
    try:
        return compiled(place.kind.parse(body), number)
    except (ValidationError, Ungrammatical):
        return []


def base() -> list[Row]:
    vpc = ClusterVpc.parse({"metadata": {"name": "default"}})
    nic = port_rows(PLAIN, BASE, ChassisOptions())
    return [*vpc_rows(vpc), *subnet_rows(BASE, pools_of(BASE)), *nic]


EVERY_KIND = pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)


@EVERY_KIND
def test_what_is_meant_is_taken(kind: type[Resource]) -> None:
    resource = kind.parse(manifest(kind, 2))
    assert invalid(resource.spec) == ""  # type: ignore[attr-defined]  # every kind has one
    compiled(resource, 2)


@EVERY_KIND
def test_hostile_text_is_in_no_row(kind: type[Resource]) -> None:
    rows = {(str(place), text): attempt(place, text, 2) for place in places(kind) for text in TEXTS}
    assert {where: found for where, found in rows.items() if any(MARK in str(row) for row in found)} == {}


def complaint(subnet: Subnet | ClusterSubnet) -> str:
    """Why it has no pools; empty where it has."""
    try:
        pools_of(subnet)
    except InvalidSubnet as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("kind", [Subnet, ClusterSubnet], ids=lambda kind: kind.__name__)
def test_a_subnet_with_hostile_text_is_invalid(kind: type[Subnet | ClusterSubnet]) -> None:
    subnets = {str(one): kind.parse(with_text(manifest(kind, 2), one.path, '"')) for one in places(kind)}
    assert {place for place, subnet in subnets.items() if "must be" not in complaint(subnet)} == set()


@pytest.mark.system
@given(
    texts=st.lists(st.sampled_from(TEXTS) | st.text('ab1.:-/"\\{}[]();,$@ \n%', max_size=20), min_size=8, max_size=8)
)
@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_ovn_reads_all_that_is_compiled_as_it_is_meant(chassis: Chassis, texts: Sequence[str]) -> None:
    """Every string of every kind at once, each in an object of its own."""
    attempts = [(place, text) for place in PLACES for text in texts]
    rows = {row.key: row for row in base()}
    for number, (place, text) in enumerate(attempts, 10):
        rows |= {row.key: row for row in attempt(place, text, number)}
    assert [row for row in rows.values() if MARK in str(row)] == []
    written(chassis, rows.values())
    assert chassis.complaints() == []
    assert MARK not in chassis.ovn.sbctl("lflow-list")
    assert MARK not in chassis.flows()


def written(chassis: Chassis, rows: Iterable[Row]) -> None:
    """Commit the rows as the controller does, and return when OVN has done with them."""

    async def commit() -> None:
        async with OvsdbNorthbound(chassis.ovn.remote("nb")) as northbound:
            await northbound.commit(difference(rows, northbound.observed()))

    asyncio.run(commit())
    chassis.bind(PLAIN.key)
    chassis.settled()
