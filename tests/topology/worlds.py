"""Rows that are desired, and databases that have some of them, others of ours, and somebody else's."""

from dataclasses import replace

from hypothesis import strategies as st

from virtnet.handoff.options import ChassisOptions
from virtnet.topology.apply import apply
from virtnet.topology.difference import difference
from virtnet.topology.names import row_name
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Parent, Ref, Row, Value
from virtnet.topology.tables import TABLES, ColumnType

words = st.sampled_from(["", "a", "b", "c"])
NAMES = [f"Subnet/demo/{letter}" for letter in "abc"]
chassis = st.builds(
    ChassisOptions,
    requested=st.lists(st.sampled_from(["one", "two", "three"]), unique=True, max_size=2).map(tuple),
    strategy=st.sampled_from(["", "rarp"]),
    journal=st.dictionaries(st.sampled_from(["state", "source"]), st.sampled_from(["x", "y"])),
)


@st.composite
def desires(draw: st.DrawFn) -> list[Row]:
    """Rows as compilers make them: each child with its parent, each reference with its row."""
    rows = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        switch, dhcp = Key("Logical_Switch", name), Key("DHCP_Options", f"{name}:v4")
        rows.append(Row(switch, {"name": draw(words), "external_ids": own(switch)}))
        rows.append(
            Row(
                dhcp,
                {"cidr": draw(words), "options": draw(maps(["mtu", "router"])), "external_ids": own(dhcp)},
            )
        )
    switches = [row.key for row in rows if row.key.table == "Logical_Switch"]
    if not switches:
        return rows
    balancers = [Key("Load_Balancer", f"{key.id}:web") for key in switches]
    rows += [
        Row(key, {"name": row_name(key), "vips": draw(maps(["10.0.0.1:80", "b"])), "external_ids": own(key)})
        for key in balancers
    ]
    rows = [with_balancers(row, draw(refs(balancers))) if row.key in switches else row for row in rows]
    every = Key("Load_Balancer_Group", switches[0].id)
    rows.append(Row(every, {"name": row_name(every), "load_balancer": draw(refs(balancers))}))
    for number in draw(st.lists(st.integers(0, 4), unique=True)):
        key, parent = Key("Logical_Switch_Port", f"Port/demo/p{number}"), draw(st.sampled_from(switches))
        rows.append(
            Row(
                key,
                {
                    "name": key.object,
                    "addresses": draw(st.frozensets(words)),
                    "dhcpv4_options": draw(st.sampled_from([None, Ref(Key("DHCP_Options", f"{parent.id}:v4"))])),
                    "options": draw(maps(["requested-chassis", "activation-strategy"])),
                    "external_ids": own(key, draw(maps(["handoff-state"]))),
                },
                Parent(parent, "ports"),
            )
        )
        limit = Key("QoS", f"{key.id}:egress")
        columns: dict[str, Value] = {"match": draw(words), "bandwidth": draw(limits), "external_ids": own(limit)}
        rows.append(Row(limit, columns, Parent(parent, "qos_rules")))
    groups = [Key("Port_Group", f"{switches[0].id}:{name}") for name in ("one", "two")]
    rows += [Row(group, {"name": draw(words), "external_ids": own(group)}) for group in groups]
    chosen = st.frozensets(st.sampled_from([Parent(group, "ports") for group in groups]))
    return [replace(row, groups=draw(chosen)) if row.key.table == "Logical_Switch_Port" else row for row in rows]


limits = st.dictionaries(st.sampled_from(["rate", "burst"]), st.integers(1, 3))


def refs(keys: list[Key]) -> st.SearchStrategy[frozenset[Ref]]:
    return st.frozensets(st.sampled_from(keys).map(Ref)) if keys else st.just(frozenset())


def with_balancers(switch: Row, balancers: frozenset[Ref]) -> Row:
    return replace(switch, columns={**switch.columns, "load_balancer": balancers})


def maps(names: list[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(names), words)


@st.composite
def worlds(draw: st.DrawFn) -> list[Row]:
    """What may be in a database: what an earlier desire left, damaged by others, with rows and keys of their own."""
    rows = apply(difference(draw(desires()), []), [])
    damaged = []
    for row in rows:
        columns = dict(row.columns)
        owner = "name" if TABLES[row.key.table].by_name else "external_ids"
        for column in [c for c in draw(st.lists(st.sampled_from(sorted(columns)), unique=True)) if c != owner]:
            columns[column] = draw(st.just(empty(columns[column])) | st.just(columns[column]))
        for column, value in columns.items():
            if isinstance(value, dict) and column not in TABLES[row.key.table].whole:
                columns[column] = {**value, **draw(maps(["foreign-a", "foreign-b"]))}
            if TABLES[row.key.table].columns[column] is ColumnType.REFS and isinstance(value, frozenset):
                columns[column] = frozenset[str | Ref](value) | draw(st.frozensets(st.just("somebody-elses")))
        groups = frozenset(group for group in sorted(row.groups, key=str) if draw(st.booleans()))
        damaged.append(replace(row, columns=columns, groups=groups))
        if draw(st.booleans()) and draw(st.booleans()):
            damaged.append(replace(row, uuid=f"a-twin-of-{row.uuid}"))
    switches = [row for row in damaged if row.key.table == "Logical_Switch"]
    foreign = Row(Key("Logical_Switch", "foreign"), {"name": "x", "external_ids": {}}, uuid="foreign-switch")
    damaged.append(foreign)
    for number, switch in enumerate([*switches, foreign]):
        if draw(st.booleans()):
            damaged.append(
                Row(
                    Key("Logical_Switch_Port", f"foreign-{number}"),
                    {"name": "y", "external_ids": {"neutron:id": "1"}},
                    Parent(switch.key, "ports", switch.uuid),
                    uuid=f"foreign-{number}",
                )
            )
    return damaged


def empty(value: Value) -> Value:
    return type(value)() if isinstance(value, str | frozenset | dict) else None
