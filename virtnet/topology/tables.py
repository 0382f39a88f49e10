"""The tables and columns of OVN's northbound database that virtnet knows, and which map keys in them are its own.

Compilers may set what is declared here and nothing else; the northbound client replicates exactly this. A new compiler
adds its tables and keys here. See ovn-nb(5) for their meaning.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "virtnet/"
"""Keys of external_ids that begin so are ours, in every table."""


class Column(enum.Enum):
    """The form of a column's value in a Row."""

    TEXT = enum.auto()
    """A string that is always there; empty by default."""

    OPTIONAL = enum.auto()
    """A string, number or bool, or None."""

    SET = enum.auto()
    """A frozenset of strings."""

    MAP = enum.auto()
    """A mapping of strings."""

    REF = enum.auto()
    """A Ref to another row, or None. A reference to somebody else's row is seen as that row's uuid."""


@dataclass(frozen=True)
class Table:
    """A table as far as virtnet uses it."""

    columns: Mapping[str, Column]
    root: bool
    """Whether its rows stand by themselves. Others live as long as a parent lists them."""
    children: Mapping[str, str] = field(default_factory=dict)
    """Columns that list other rows, and the table of these. Never set: children name their parent."""
    own: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The keys of its map columns that are ours; one that is set and no longer wanted is removed."""
    verify: frozenset[str] = frozenset()
    """Columns that are decided from what they hold: a change to one is refused when it no longer holds that."""

    def owns(self, column: str, key: str) -> bool:
        return key.startswith(PREFIX) if column == "external_ids" else key in self.own.get(column, ())


_IDS = {"external_ids": Column.MAP}

TABLES: Mapping[str, Table] = {
    "Logical_Router": Table({"name": Column.TEXT, **_IDS}, root=True, children={"ports": "Logical_Router_Port"}),
    "Logical_Switch": Table(
        {"name": Column.TEXT, "other_config": Column.MAP, **_IDS},
        root=True,
        children={"ports": "Logical_Switch_Port", "acls": "ACL"},
        own={
            "other_config": frozenset(
                {"mcast_snoop", "mcast_querier", "mcast_eth_src", "mcast_ip4_src", "mcast_ip6_src"}
            )
        },
    ),
    "DHCP_Options": Table(
        {"cidr": Column.TEXT, "options": Column.MAP, **_IDS},
        root=True,
        own={
            "options": frozenset(
                {
                    "server_id",
                    "server_mac",
                    "router",
                    "lease_time",
                    "mtu",
                    "dns_server",
                    "domain_name",
                    "domain_search",
                    "classless_static_route",
                }
            )
        },
    ),
    "Logical_Router_Port": Table(
        {
            "name": Column.TEXT,
            "mac": Column.TEXT,
            "networks": Column.SET,
            "ipv6_ra_configs": Column.MAP,
            "options": Column.MAP,
            **_IDS,
        },
        root=False,
        own={
            "ipv6_ra_configs": frozenset({"address_mode", "send_periodic", "mtu", "rdnss", "dnssl"}),
            "options": frozenset({"gateway_mtu"}),
        },
    ),
    "Logical_Switch_Port": Table(
        {
            "name": Column.TEXT,
            "type": Column.TEXT,
            "addresses": Column.SET,
            "port_security": Column.SET,
            "dhcpv4_options": Column.REF,
            "dhcpv6_options": Column.REF,
            "tag": Column.OPTIONAL,
            "options": Column.MAP,
            **_IDS,
        },
        root=False,
        own={
            "options": frozenset(
                {
                    "router-port",
                    "requested-chassis",
                    "activation-strategy",
                    "network_name",
                    "mcast_flood",
                    "mcast_flood_reports",
                }
            )
        },
        verify=frozenset({"options", "external_ids"}),
    ),
    "ACL": Table(
        {
            "direction": Column.TEXT,
            "priority": Column.OPTIONAL,
            "match": Column.TEXT,
            "action": Column.TEXT,
            **_IDS,
        },
        root=False,
    ),
}
"""In the order in which rows are inserted: what is referred to comes before what refers to it."""

RANK = {table: rank for rank, table in enumerate(TABLES)}
