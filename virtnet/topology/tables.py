"""The tables and columns of OVN's northbound database that virtnet knows, and which map keys in them are its own.

Compilers may set what is declared here and nothing else; the northbound client replicates exactly this. A new compiler
adds its tables and keys here. See ovn-nb(5) for their meaning.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "virtnet/"
"""Keys of external_ids that begin so are ours, in every table."""


NAME = "virtnet:"
"""Names of rows of ours begin so, but for the ports of NICs."""


UNKNOWN = "unknown"
"""Among the addresses of a Logical_Switch_Port: whatever MAC no port of the switch has."""


class ColumnType(enum.Enum):
    """The form of a column's value in a Row."""

    TEXT = enum.auto()
    """A string that is always there; empty by default."""

    OPTIONAL = enum.auto()
    """A string, number or bool, or None."""

    SET = enum.auto()
    """A frozenset of strings, changed by element."""

    MAP = enum.auto()
    """A mapping of strings to strings or to integers."""

    REF = enum.auto()
    """A Ref to another row, or None. A reference to somebody else's row is seen as that row's uuid."""

    REFS = enum.auto()
    """A frozenset of Refs to rows that stand by themselves, changed by element. References to somebody else's rows are
    seen as these rows' uuids, and stay."""


@dataclass(frozen=True)
class Table:
    """A table as far as virtnet uses it."""

    columns: Mapping[str, ColumnType]
    root: bool
    """Whether its rows stand by themselves. Others live as long as a parent lists them."""
    children: Mapping[str, str] = field(default_factory=dict)
    """Columns that list other rows, and the table of these. Never set: children name their parent."""
    members: Mapping[str, str] = field(default_factory=dict)
    """Columns that list rows of another table, which live without. Never set: members name their groups."""
    own: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The keys of its map columns that are ours; one that is set and no longer wanted is removed."""
    whole: frozenset[str] = frozenset()
    """Map columns that are ours with whatever keys they have."""
    verify: frozenset[str] = frozenset()
    """Columns that are decided from what they hold: a change to one is refused when it no longer holds that."""

    @property
    def listing(self) -> Mapping[str, str]:
        """Columns of children and members."""
        return {**self.children, **self.members}

    @property
    def by_name(self) -> bool:
        """Whether a row's name says whose it is, because the table has no external_ids."""
        return "external_ids" not in self.columns

    def owns(self, column: str, key: str) -> bool:
        if column in self.whole:
            return True
        return key.startswith(PREFIX) if column == "external_ids" else key in self.own.get(column, ())


_IDS = {"external_ids": ColumnType.MAP}

TABLES: Mapping[str, Table] = {
    "Load_Balancer": Table(
        {
            "name": ColumnType.TEXT,
            "vips": ColumnType.MAP,
            "protocol": ColumnType.OPTIONAL,
            "options": ColumnType.MAP,
            "selection_fields": ColumnType.SET,
            "ip_port_mappings": ColumnType.MAP,
            **_IDS,
        },
        root=True,
        own={"options": frozenset({"hairpin_snat_ip", "reject", "affinity_timeout"})},
        whole=frozenset({"vips", "ip_port_mappings"}),
    ),
    "Load_Balancer_Group": Table({"name": ColumnType.TEXT, "load_balancer": ColumnType.REFS}, root=True),
    "Logical_Router": Table({"name": ColumnType.TEXT, **_IDS}, root=True, children={"ports": "Logical_Router_Port"}),
    "Logical_Switch": Table(
        {"name": ColumnType.TEXT, "other_config": ColumnType.MAP, "load_balancer": ColumnType.REFS, **_IDS},
        root=True,
        children={"ports": "Logical_Switch_Port", "acls": "ACL", "qos_rules": "QoS"},
        own={
            "other_config": frozenset(
                {
                    "mcast_snoop",
                    "mcast_querier",
                    "mcast_eth_src",
                    "mcast_ip4_src",
                    "mcast_ip6_src",
                    "vlan-passthru",
                }
            )
        },
    ),
    "DHCP_Options": Table(
        {"cidr": ColumnType.TEXT, "options": ColumnType.MAP, **_IDS},
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
                    "bootfile_name",
                    "tftp_server",
                    "next_server",
                    "ntp_server",
                    "wpad",
                }
            )
        },
    ),
    "Logical_Router_Port": Table(
        {
            "name": ColumnType.TEXT,
            "mac": ColumnType.TEXT,
            "networks": ColumnType.SET,
            "ipv6_ra_configs": ColumnType.MAP,
            "options": ColumnType.MAP,
            **_IDS,
        },
        root=False,
        own={
            "ipv6_ra_configs": frozenset({"address_mode", "send_periodic", "mtu", "rdnss", "dnssl"}),
            "options": frozenset({"gateway_mtu"}),
        },
    ),
    "Address_Set": Table({"name": ColumnType.TEXT, "addresses": ColumnType.SET, **_IDS}, root=True),
    "Port_Group": Table(
        {"name": ColumnType.TEXT, **_IDS},
        root=True,
        children={"acls": "ACL"},
        members={"ports": "Logical_Switch_Port"},
    ),
    "HA_Chassis_Group": Table({"name": ColumnType.TEXT, **_IDS}, root=True, children={"ha_chassis": "HA_Chassis"}),
    "HA_Chassis": Table({"chassis_name": ColumnType.TEXT, "priority": ColumnType.OPTIONAL, **_IDS}, root=False),
    "Mirror": Table(
        {
            "name": ColumnType.TEXT,
            "type": ColumnType.TEXT,
            "filter": ColumnType.TEXT,
            "sink": ColumnType.TEXT,
            "index": ColumnType.OPTIONAL,
            **_IDS,
        },
        root=True,
    ),
    "Logical_Switch_Port": Table(
        {
            "name": ColumnType.TEXT,
            "type": ColumnType.TEXT,
            "addresses": ColumnType.SET,
            "port_security": ColumnType.SET,
            "dhcpv4_options": ColumnType.REF,
            "dhcpv6_options": ColumnType.REF,
            "ha_chassis_group": ColumnType.REF,
            "mirror_rules": ColumnType.REFS,
            "tag": ColumnType.OPTIONAL,
            "options": ColumnType.MAP,
            **_IDS,
        },
        root=False,
        own={
            "options": frozenset(
                {
                    "router-port",
                    "requested-chassis",
                    "activation-strategy",
                    "hostname",
                    "network_name",
                    "mcast_flood",
                    "mcast_flood_reports",
                }
            )
        },
        verify=frozenset({"options", "external_ids"}),
    ),
    "QoS": Table(
        {
            "direction": ColumnType.TEXT,
            "priority": ColumnType.OPTIONAL,
            "match": ColumnType.TEXT,
            "action": ColumnType.MAP,
            "bandwidth": ColumnType.MAP,
            **_IDS,
        },
        root=False,
        whole=frozenset({"action", "bandwidth"}),
    ),
    "ACL": Table(
        {
            "direction": ColumnType.TEXT,
            "priority": ColumnType.OPTIONAL,
            "match": ColumnType.TEXT,
            "action": ColumnType.TEXT,
            "options": ColumnType.MAP,
            **_IDS,
        },
        root=False,
        own={"options": frozenset({"apply-after-lb"})},
    ),
}
"""In the order in which rows are inserted: what is referred to comes before what refers to it."""

RANK = {table: rank for rank, table in enumerate(TABLES)}
