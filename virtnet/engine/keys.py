"""How objects are known by, whatever their kind."""

from sys import intern
from typing import NamedTuple, Self

from virtnet.api import Resource


class ObjectKey(NamedTuple):
    """Kind, namespace and name of one object; the namespace is empty in cluster scope.

    >>> str(ObjectKey("Port", "demo", "db.blue")), str(ObjectKey("ClusterSubnet", "", "lan"))
    ('Port/demo/db.blue', 'ClusterSubnet/lan')
    """

    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> str:
        """``namespace/name``, or ``name`` in cluster scope: one string for all who keep it."""
        return intern(f"{self.namespace}/{self.name}") if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}"

    @classmethod
    def of(cls, resource: Resource) -> Self:
        """The key of one of virtnet's own objects."""
        return cls(type(resource).__name__, resource.namespace, resource.name)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that prints as ``text``: what rows of OVN are known by.

        >>> ObjectKey.parse("Port/demo/db.blue").namespace
        'demo'
        """
        kind, _, rest = text.partition("/")
        namespace, _, name = rest.rpartition("/")
        return cls(kind, namespace, name)

    @classmethod
    def named(cls, kind: str, key: str) -> Self:
        """The key of a kind's object ``namespace/name`` or ``name``."""
        namespace, _, name = key.rpartition("/")
        return cls(kind, namespace, name)
