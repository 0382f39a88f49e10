"""Rows of OVN's northbound database as virtnet means them, and the operations between two sets of them.

Plain values. What they are compiled from is in ``compile``, how the operations come about in ``difference``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What makes a row of ours the same row, whatever its uuid.

    ``id`` is ``Kind/object`` or ``Kind/object:part``: the API object that the row was compiled from, and which of its
    rows in this table it is. It is kept in the row's external_ids as ``virtnet/id``. The part of a row that another
    kind adds to the object's own begins with that kind: ``Port/demo/db.blue:Kind/part``.
    """

    table: str
    id: str

    @property
    def origin(self) -> str:
        """The API object that the row belongs to: ``Port/demo/db.blue``, ``ClusterSubnet/lan``.

        >>> Key("Logical_Router_Port", "Subnet/demo/blue:gateway").origin
        'Subnet/demo/blue'
        """
        return self.id.partition(":")[0]

    @property
    def kind(self) -> str:
        """The kind that the row is compiled by: the API object's own, or the one that adds it.

        >>> Key("ACL", "Port/demo/db.blue").kind, Key("ACL", "Port/demo/db.blue:Firewall/in").kind
        ('Port', 'Firewall')
        """
        adding, slash, _ = self.id.partition(":")[2].partition("/")
        return adding if slash else self.id.partition("/")[0]

    @property
    def object(self) -> str:
        """The API object's key: ``namespace/name``, or ``name`` in cluster scope."""
        return self.origin.partition("/")[2]

    def __str__(self) -> str:
        return f"{self.table} {self.id}"


@dataclass(frozen=True, slots=True)
class Ref:
    """A column value that names another row of ours."""

    key: Key
    uuid: str = field(default="", compare=False)
    """The very row, in rows that were observed: of two rows with one key it is the one that is meant."""


@dataclass(frozen=True, slots=True)
class Parent:
    """Where a row hangs: a column of another row of ours, which lists it among others' rows."""

    key: Key
    column: str
    uuid: str = field(default="", compare=False)
    """The very row, in rows that were observed."""


Element = str | Ref
Elements = frozenset[str] | frozenset[Ref] | frozenset[Element]
Value = str | int | bool | Elements | Mapping[str, str] | Mapping[str, int] | Ref | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row. Columns that are not named are none of our business; one that is named and empty has to be empty.

    Children name their parent, and members their groups, so that neither has to know all of them and others' survive.
    """

    key: Key
    columns: Mapping[str, Value]
    parent: Parent | None = None
    uuid: str = field(default="", compare=False)
    """The database's identity of an observed row."""
    groups: frozenset[Parent] = frozenset()
    """Where else it is listed, such as among the ports of Port_Groups. It lives without, but it is in all of them from
    the transaction on that inserts it.
    """


@dataclass(frozen=True, slots=True)
class Keys:
    """A change to some keys of a map column. The others are not ours."""

    put: Mapping[str, str] | Mapping[str, int] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Members:
    """A change to some elements of a set, of strings or of references. The others stay, whoever put them there."""

    put: Elements = frozenset()
    remove: Elements = frozenset()


Change = Value | Keys | Members


@dataclass(frozen=True, slots=True)
class Insert:
    """A row that is not there yet. Committing it raises Stale when a row of this key has appeared."""

    row: Row

    @property
    def key(self) -> Key:
        return self.row.key


@dataclass(frozen=True, slots=True)
class Update:
    """Columns that change. Committing it raises Stale when the row is gone or ``verify`` does not hold."""

    key: Key
    columns: Mapping[str, Change]
    parent: Parent | None = None
    """Where the row moves to, if it hangs elsewhere."""
    verify: Mapping[str, Value] = field(default_factory=dict)
    """Whole columns that must still be what this update was decided from."""
    uuid: str = ""
    """The very row; empty: the one of this key."""
    join: frozenset[Parent] = frozenset()
    leave: frozenset[Parent] = frozenset()
    """Groups that the row comes into, and from which it goes."""


@dataclass(frozen=True, slots=True)
class Delete:
    """A row that goes. One that is gone already is no failure."""

    key: Key
    parent: Parent | None = None
    uuid: str = ""
    """The very row; empty: the one of this key."""


Op = Insert | Update | Delete
