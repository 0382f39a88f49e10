"""A cache never believes older news than it has, and a whole list tells what has vanished."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from virtnet.api.meta import object_key
from virtnet.kube.cache import ObjectCache

T = TypeVar("T")


class Thing(NamedTuple):
    key: str
    uid: str
    version: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Thing":
        return cls(object_key(found), found["metadata"]["uid"], found["metadata"]["resourceVersion"])


def body(name: str, version: int, uid: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "demo", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    }


def sync(cache: ObjectCache[T], version: int, *items: dict[str, Any]) -> list[tuple[T | None, T | None]]:
    """A whole list, each object in a part of its own."""
    moment = {"metadata": {"resourceVersion": str(version)}}
    parts = [cache.note("LISTED", {"items": [item], **moment}) for item in items]
    end = {"keys": [object_key(item) for item in items], **moment}
    return [change for part in (*parts, cache.note("SYNC", end)) for change in part]


def things() -> ObjectCache[Thing]:
    return ObjectCache(Thing.of)


def test_a_list_removes_what_is_not_in_it() -> None:
    cache = things()
    sync(cache, 5, body("a", 1), body("b", 2))
    changes = sync(cache, 9, body("b", 2))
    assert [(old.key if old else None, new) for old, new in changes] == [("demo/a", None)]
    assert [one.key for one in cache] == ["demo/b"]


def test_a_list_older_than_our_own_write_does_not_undo_it() -> None:
    cache = things()
    cache.put(body("mine", 12))
    sync(cache, 10)
    assert [one.key for one in cache] == ["demo/mine"]


def test_older_news_changes_nothing() -> None:
    cache = things()
    cache.put(body("a", 7, uid="new"))
    cache.put(body("a", 6, uid="old"))
    assert cache["demo/a"].uid == "new"


def test_what_we_deleted_does_not_come_back_by_old_news() -> None:
    cache = things()
    cache.put(body("a", 7, uid="u"))
    cache.discard_deleted("demo/a", "u")
    cache.put(body("a", 8, uid="u"))
    assert cache.get("demo/a") is None
    cache.put(body("a", 9, uid="another"))
    assert cache.get("demo/a") is not None


def test_news_of_an_earlier_object_does_not_remove_the_new_one_of_its_name() -> None:
    cache = things()
    cache.put(body("a", 1, uid="old"))
    cache.discard_deleted("demo/a", "old")
    cache.put(body("a", 3, uid="new"))
    assert cache.note("DELETED", body("a", 2, uid="old")) == []
    assert cache["demo/a"].uid == "new"


def test_the_end_of_what_we_have_deleted_is_told_all_the_same() -> None:
    """Others wait for it: a Port whose address was another's."""
    cache = things()
    cache.put(body("a", 1, uid="old"))
    cache.discard_deleted("demo/a", "old")
    ((old, new),) = cache.note("DELETED", body("a", 2, uid="old"))
    assert old is not None
    assert (old.uid, new) == ("old", None)
    assert cache.get("demo/a") is None


def test_burying_comes_too_late_when_the_watch_was_quicker() -> None:
    cache = things()
    cache.put(body("a", 1, uid="old"))
    cache.note("DELETED", body("a", 2, uid="old"))
    cache.put(body("a", 3, uid="new"))
    cache.discard_deleted("demo/a", "old")
    assert cache["demo/a"].uid == "new"
    assert cache.deleted == {}


def test_an_object_that_cannot_be_read_does_not_stop_the_others() -> None:
    def parse(found: Any) -> str:
        return str(found["spec"]["name"])

    texts: ObjectCache[str] = ObjectCache(parse)
    texts.put({**body("a", 1), "spec": {"name": "first"}})
    sync(texts, 9, body("a", 2), {**body("b", 3), "spec": {"name": "second"}})
    assert list(texts) == ["first", "second"]


def test_a_list_below_what_is_known_replaces_all() -> None:
    """Etcd has been restored: what was written after its snapshot never happened."""
    cache = things()
    sync(cache, 5, body("changed", 3), body("deleted", 4), body("buried", 5))
    cache.note("MODIFIED", body("changed", 6))
    cache.note("DELETED", body("deleted", 7))
    cache.discard_deleted("demo/buried", "uid-buried")
    cache.note("ADDED", body("new", 9))
    cache.put(body("written", 10))
    sync(cache, 5, body("changed", 3), body("deleted", 4), body("buried", 5))
    assert {one.key: one.version for one in cache} == {"demo/changed": "3", "demo/deleted": "4", "demo/buried": "5"}
    assert cache.note("MODIFIED", body("changed", 6)) == [
        (Thing("demo/changed", "uid-changed", "3"), Thing("demo/changed", "uid-changed", "6"))
    ]


def test_a_list_is_right_about_all_that_is_older_than_itself() -> None:
    """Also where a restored etcd has come further meanwhile than it had been."""
    cache = things()
    sync(cache, 9, body("a", 8))
    cache.put(body("b", 14))
    sync(cache, 12, body("a", 3), body("b", 11))
    assert {one.key: one.version for one in cache} == {"demo/a": "3", "demo/b": "14"}


def test_an_object_that_comes_back_is_lost_no_more() -> None:
    cache = things()
    cache.lost |= {"demo/a", "demo/b"}
    cache.put(body("a", 1))
    assert cache.lost == {"demo/b"}


def test_an_answer_that_comes_after_the_news_of_the_deletion_brings_nothing_back() -> None:
    """As when our own write has taken the last finalizer away."""
    vms = things()
    vms.note("ADDED", body("a", 5, uid="u"))
    vms.note("DELETED", body("a", 7, uid="u"))
    assert vms.put(body("a", 7, uid="u")) == (None, None)
    assert vms.put(body("a", 6, uid="u")) == (None, None)
    assert vms.get("demo/a") is None
    vms.put(body("a", 8, uid="another"))
    assert vms.get("demo/a") is not None


def test_an_answer_that_comes_before_the_news_is_believed() -> None:
    vms = things()
    vms.note("ADDED", body("b", 5))
    vms.put(body("a", 6))
    vms.note("ADDED", body("a", 6))
    assert [vm.key for vm in vms] == ["demo/b", "demo/a"]


def test_an_object_that_is_told_again_is_kept_once() -> None:
    """The watch brings back whatever we have written, and a list brings all."""
    parsed = []

    def parse(found: Mapping[str, Any]) -> Thing:
        parsed.append(found)
        return Thing.of(found)

    cache = ObjectCache(parse)
    _, written = cache.put(body("a", 7))
    assert cache.note("MODIFIED", body("a", 7)) == []
    assert len(parsed) == 1
    assert sync(cache, 9, body("a", 7)) == []
    assert cache["demo/a"] is written
