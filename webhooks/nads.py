"""NetworkAttachmentDefinitions at admission: what they say, and who has NICs by them."""

from collections.abc import Mapping, Sequence
from typing import Any

from virtnet.addressing.held import OF_ANOTHER_NAMESPACE
from virtnet.addressing.requests import Refused
from virtnet.api import Port
from virtnet.api.meta import object_key
from virtnet.api.multus import InvalidNetwork, NadNetwork, nad_title
from virtnet.features.nads import NIC_USERS, NicUser
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache, nad_network
from webhooks.networks import Networks
from webhooks.nic_kinds import served, with_device
from webhooks.routes import resolved_routes

Body = Mapping[str, Any]


class NadChecker:
    """Checks NADs."""

    def __init__(self, cluster: Cluster, cache: Cache, networks: Networks) -> None:
        self._cluster = cluster
        self._cache = cache
        self._networks = networks

    async def check(self, nad: Body, old: Body | None) -> None:
        """One that is written. Its Subnet may come later. Raises Refused and ApiError."""
        says, title = nad_network(nad), nad_title(nad)
        if isinstance(says, InvalidNetwork):
            raise Refused(str(says))
        await self._keep_users(nad, says, nad_network(old) if old else None)
        if says and says.nic:
            with_device(served(says.nic, title), says, title)
        subnet = await self._networks.subnet(says.subnet) if says and says.routes else None
        if says and subnet is not None:
            resolved_routes(f"{title}: spec.config", says.routes, self._networks.pools(subnet))

    async def deleted(self, nad: Body) -> Sequence[str]:
        """What is to be known by whoever deletes one. Raises ApiError."""
        users = self._users(nad)
        for user in users:
            if await self._live(user) is not None:
                title = nad_title(nad)
                return (
                    f"{title} stays until the last of {len(users)} NICs by it has gone, "
                    f"one of them {_title(user, nad)}",
                )
        return ()

    async def _keep_users(self, nad: Body, says: NadNetwork | None, before: object) -> None:
        """Refuses to lead those who have NICs by it to another Subnet: they could neither start nor migrate."""
        subnet = str(says.subnet) if says else ""
        if isinstance(before, NadNetwork) and str(before.subnet) == subnet:
            return
        for user in self._users(nad):
            live = await self._live(user) if user.subnet != subnet else None
            if live is not None and live.subnet != subnet:
                raise Refused(
                    f"{nad_title(nad)}: {_title(live, nad)}, has its addresses in {live.subnet} by it; name that one, "
                    "or make another NetworkAttachmentDefinition and move the NIC to it",
                    code=409,
                )

    def _users(self, nad: Body) -> list[NicUser]:
        return self._cache.graph.objects(NIC_USERS).by(NIC_USERS.indexes["nad"], object_key(nad))

    async def _live(self, user: NicUser) -> NicUser | None:
        """As the API server has it, for nobody is refused for the sake of what was deleted a moment ago."""
        cache, (namespace, name) = self._cache.by_collection[NIC_USERS], user.key.split("/")
        try:
            cache.put(await self._cluster.get(kinds.of(Port), name, namespace))
        except NotFound:
            cache.remove(user.key)
        found: NicUser | None = cache.get(user.key)
        return found if found is not None and found.nad == user.nad else None


def _title(user: NicUser, nad: Body) -> str:
    """A user of a NAD, to whoever may write in the NAD's namespace."""
    same = user.key.partition("/")[0] == nad["metadata"]["namespace"]
    return user.title if same else OF_ANOTHER_NAMESPACE
