"""The store never believes older news than it has, and a whole list tells what has vanished."""

from typing import Any, TypeVar

from virtnet.controllers.store import Store
from virtnet.controllers.views import Vm
from virtnet.kube.table import Table, object_key

T = TypeVar("T")


def body(name: str, version: int, uid: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "demo", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    }


def sync(table: Table[T], version: int, *items: dict[str, Any]) -> list[tuple[T | None, T | None]]:
    """A whole list, each object in a part of its own."""
    parts = [table.note("LISTED", {"items": [item]}) for item in items]
    end = {"keys": [object_key(item) for item in items], "metadata": {"resourceVersion": str(version)}}
    return [change for part in (*parts, table.note("SYNC", end)) for change in part]


def table() -> Table[Vm]:
    return Table(Vm.of, lambda vm: [vm.uid])


def test_a_list_removes_what_is_not_in_it() -> None:
    vms = table()
    sync(vms, 5, body("a", 1), body("b", 2))
    changes = sync(vms, 9, body("b", 2))
    assert [(old.key if old else None, new) for old, new in changes] == [("demo/a", None)]
    assert [vm.key for vm in vms] == ["demo/b"]


def test_a_list_older_than_our_own_write_does_not_undo_it() -> None:
    vms = table()
    vms.put(body("mine", 12))
    sync(vms, 10)
    assert [vm.key for vm in vms] == ["demo/mine"]


def test_older_news_changes_nothing() -> None:
    vms = table()
    vms.put(body("a", 7, uid="new"))
    vms.put(body("a", 6, uid="old"))
    assert vms["demo/a"].uid == "new"


def test_what_we_deleted_does_not_come_back_by_old_news() -> None:
    vms = table()
    vms.put(body("a", 7, uid="u"))
    vms.bury("demo/a", "u")
    vms.put(body("a", 8, uid="u"))
    assert vms.get("demo/a") is None
    vms.put(body("a", 9, uid="another"))
    assert vms.get("demo/a") is not None


def test_news_of_an_earlier_object_does_not_remove_the_new_one_of_its_name() -> None:
    vms = table()
    vms.put(body("a", 1, uid="old"))
    vms.bury("demo/a", "old")
    vms.put(body("a", 3, uid="new"))
    assert vms.note("DELETED", body("a", 2, uid="old")) == []
    assert vms["demo/a"].uid == "new"


def test_the_end_of_what_we_have_buried_is_told_all_the_same() -> None:
    """Others wait for it: a Port whose address was another's."""
    vms = table()
    vms.put(body("a", 1, uid="old"))
    vms.bury("demo/a", "old")
    ((old, new),) = vms.note("DELETED", body("a", 2, uid="old"))
    assert old is not None
    assert (old.uid, new) == ("old", None)
    assert vms.get("demo/a") is None


def test_burying_comes_too_late_when_the_watch_was_quicker() -> None:
    vms = table()
    vms.put(body("a", 1, uid="old"))
    vms.note("DELETED", body("a", 2, uid="old"))
    vms.put(body("a", 3, uid="new"))
    vms.bury("demo/a", "old")
    assert vms["demo/a"].uid == "new"
    assert vms.buried == {}


def test_an_object_that_cannot_be_read_does_not_stop_the_others() -> None:
    def parse(found: Any) -> str:
        return found["spec"]["name"]

    texts: Table[str] = Table(parse)
    texts.put({**body("a", 1), "spec": {"name": "first"}})
    sync(texts, 9, body("a", 2), {**body("b", 3), "spec": {"name": "second"}})
    assert list(texts) == ["first", "second"]


def test_groups_follow_their_objects() -> None:
    vms = table()
    vms.put(body("a", 1, uid="u1"))
    vms.put(body("a", 2, uid="u2"))
    assert vms.of("u1") == []
    assert [vm.key for vm in vms.of("u2")] == ["demo/a"]
    vms.remove("demo/a")
    assert vms.of("u2") == []


def test_what_nodes_say_together_follows_each_of_them() -> None:
    def node(version: int, **status: Any) -> dict[str, Any]:
        return {"metadata": {"name": "n1", "uid": "u1", "resourceVersion": str(version)}, "status": status}

    store = Store()
    assert store.fleet.chassis == {}
    store.nodes.put(node(1, chassis="ch1"))
    before = store.fleet
    assert (before.chassis, before.names) == ({"n1": "ch1"}, {"ch1": "n1"})
    assert before.gateless.keys() == before.strategies.keys() == {"n1"}
    assert store.fleet is before, "nothing has changed"
    store.nodes.put(
        node(2, chassis="ch1", handoff={"gate": True}, handoffs={"demo/p": {"migration": "m1", "carried": 3}})
    )
    assert store.fleet.gateless == {}
    assert store.told("demo/p")["m1"].carried == 3
    store.nodes.remove("n1")
    assert (store.fleet.chassis, store.told("demo/p")) == ({}, {})
