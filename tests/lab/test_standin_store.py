"""What the stand-in knows, whatever order its own writes and the answers of its watches come in."""

from typing import Any, cast

import pytest

from virtnet.kube.kinds import PODS, Kind
from virtnet.lab.standin.server import Server
from virtnet.lab.standin.store import Store

KEY = ("demo", "launcher")


def pod(version: int, uid: str = "u1") -> dict[str, Any]:
    namespace, name = KEY
    return {
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": str(version)},
    }


class Answers:
    """An API server of which only the answer to a write matters."""

    async def create(self, kind: Kind, body: dict[str, Any], namespace: str) -> dict[str, Any]:
        return body


@pytest.fixture
def store() -> Store:
    return Store(cast("Server", Answers()))


def listed(store: Store, version: int, *items: dict[str, Any]) -> None:
    store.note(PODS, "LISTED", {"items": list(items)})
    keys = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in items]
    store.note(PODS, "SYNC", {"keys": keys, "metadata": {"resourceVersion": str(version)}})


async def test_what_we_made_after_a_lists_moment_is_still_there_when_the_list_has_come(store: Store) -> None:
    told: list[str] = []
    store.on_change(PODS, lambda _, thing: told.append(thing["metadata"]["resourceVersion"]))
    made = await store.create(PODS, pod(12))
    listed(store, 11)
    assert store.get(PODS, KEY) == made
    store.note(PODS, "MODIFIED", pod(13))
    assert store.get(PODS, KEY) == pod(13)
    assert told == ["12", "13"]


async def test_what_a_list_has_no_more_is_gone_for_ever(store: Store) -> None:
    await store.create(PODS, pod(12))
    listed(store, 14)
    assert store.get(PODS, KEY) is None
    store.note(PODS, "MODIFIED", pod(13))
    assert store.get(PODS, KEY) is None
    store.note(PODS, "ADDED", pod(15, uid="u2"))
    assert store.get(PODS, KEY) == pod(15, uid="u2")
