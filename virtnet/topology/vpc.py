"""A Vpc: one logical router."""

from virtnet.api import ClusterVpc, Vpc
from virtnet.api.strings import check
from virtnet.topology.names import row_name, vpc_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Row


def vpc_rows(vpc: Vpc | ClusterVpc) -> list[Row]:
    check(vpc.metadata)
    key = vpc_key(vpc)
    return [Row(key, {"name": row_name(key), "external_ids": own(key)})]
