"""What the stand-in knows, whatever order its own writes and the answers of its watches come in."""

from typing import Any, cast

import pytest

from virtnet.kube.errors import Unavailable
from virtnet.kube.kinds import PODS, Kind
from virtnet.lab.standin.server import StandinCluster
from virtnet.lab.standin.store import Store

KEY = ("demo", "launcher")


def pod(version: int, uid: str = "u1") -> dict[str, Any]:
    namespace, name = KEY
    return {
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": str(version)},
    }


class Answers:
    """An API server that makes what it is asked for, and whose answer may be lost."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.dies = False

    async def create(self, kind: Kind, body: dict[str, Any], namespace: str) -> dict[str, Any]:
        self.made.append(body)
        if self.dies:
            raise Unavailable("Server disconnected")
        return body

    async def list(self, kind: Kind, namespace: str) -> tuple[list[dict[str, Any]], str]:
        return self.made, "20"


@pytest.fixture
def store() -> Store:
    return Store(cast("StandinCluster", Answers()))


def listed(store: Store, version: int, *items: dict[str, Any]) -> None:
    store.note(PODS, "LISTED", {"items": list(items)})
    keys = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in items]
    store.note(PODS, "SYNC", {"keys": keys, "metadata": {"resourceVersion": str(version)}})


async def test_what_we_made_after_a_lists_moment_is_still_there_when_the_list_has_come(store: Store) -> None:
    versions: list[str] = []
    store.on_change(PODS, lambda _, thing: versions.append(thing["metadata"]["resourceVersion"]))
    made = await store.create(PODS, pod(12))
    listed(store, 11)
    assert store.get(PODS, KEY) == made
    store.note(PODS, "MODIFIED", pod(13))
    assert store.get(PODS, KEY) == pod(13)
    assert versions == ["12", "13"]


async def test_what_a_list_has_no_more_is_gone_for_ever(store: Store) -> None:
    await store.create(PODS, pod(12))
    listed(store, 14)
    assert store.get(PODS, KEY) is None
    store.note(PODS, "MODIFIED", pod(13))
    assert store.get(PODS, KEY) is None
    store.note(PODS, "ADDED", pod(15, uid="u2"))
    assert store.get(PODS, KEY) == pod(15, uid="u2")


async def test_what_was_made_without_an_answer_is_known_before_it_could_be_made_again() -> None:
    answers = Answers()
    store = Store(cast("StandinCluster", answers))
    answers.dies = True
    with pytest.raises(Unavailable):
        await store.create(PODS, pod(12))
    answers.dies = False
    with pytest.raises(Unavailable, match="had no answer"):
        await store.create(PODS, pod(13, uid="u2"))
    assert store.get(PODS, KEY) == pod(12)
    assert len(answers.made) == 1
    assert await store.create(PODS, pod(14, uid="u2")) == pod(14, uid="u2"), "and then it goes on"
