"""Vpc and ClusterVpc: one logical router each."""

from functools import partial

from virtnet.api import ClusterVpc, Vpc
from virtnet.api.meta import Metadata
from virtnet.engine.feature import Feature
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome, Report
from virtnet.features.committed import readiness
from virtnet.features.layout import layout
from virtnet.features.obstacles import vpc_of
from virtnet.features.sources import CLUSTER_VPCS, VPCS, vpcs_of
from virtnet.topology.vpc import vpc_rows


def compile_vpc(key: ObjectKey, reader: Reader) -> Outcome:
    """A router stays for as long as a Subnet names it, though its object be gone: guests use it."""
    vpc = vpc_of(key, reader)
    if vpc is not None:
        return Outcome(vpc_rows(vpc))
    return Outcome(None if reader.derive(_subnets, key) else ())


def report_vpc(key: ObjectKey, reader: Reader) -> Report | None:
    vpc = reader.whole(vpcs_of(key.kind), key)
    if vpc is None:
        return None
    return Report((readiness(vpc, None, reader),), {"subnets": tuple(one.key for one in reader.derive(_subnets, key))})


def vpc_in_use(vpc: Vpc | ClusterVpc, reader: Reader) -> str:
    subnets = reader.derive(_subnets, ObjectKey.of(vpc))
    return f"{len(subnets)} Subnets, one of them {subnets[0].key}" if subnets else ""


def _subnets(vpc: ObjectKey, reader: Reader) -> tuple[ObjectKey, ...]:
    return tuple(sorted(reader.derive(layout, vpc).subnets, key=lambda key: key.key))


_feature = partial(Feature, compile=compile_vpc, report=report_vpc, in_use=vpc_in_use)
VPC = _feature(model=Vpc, collection=VPCS)
CLUSTER_VPC = _feature(
    model=ClusterVpc, collection=CLUSTER_VPCS, defaults=(ClusterVpc(metadata=Metadata(name="default")),)
)
