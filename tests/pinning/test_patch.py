"""JSON Patches: only what differs, and the objects on the way to it."""

import base64
import json

import pytest

from webhooks.patch import Patch


def test_what_is_on_the_way_is_made_once() -> None:
    patch = Patch({"metadata": {"annotations": None}})
    patch.set("1", "metadata", "annotations", "virtnet.dev/pinned")
    patch.set("2", "metadata", "annotations", "a~b")
    assert patch.operations == [
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/virtnet.dev~1pinned", "value": "1"},
        {"op": "add", "path": "/metadata/annotations/a~0b", "value": "2"},
    ]
    assert json.loads(base64.b64decode(patch.response["patch"])) == patch.operations
    assert patch.response["patchType"] == "JSONPatch"


def test_an_item_of_a_list() -> None:
    patch = Patch({"interfaces": [{"name": "a"}, {"name": "b"}]})
    patch.set("02:00:00:00:00:01", "interfaces", 1, "macAddress")
    assert patch.operations == [{"op": "add", "path": "/interfaces/1/macAddress", "value": "02:00:00:00:00:01"}]


@pytest.mark.parametrize(
    ("body", "removed"),
    [({"annotations": {"a": "1"}}, 1), ({"annotations": {"b": "1"}}, 0), ({}, 0)],
    ids=["there", "beside others", "nowhere"],
)
def test_only_what_is_there_is_removed(body: dict[str, object], removed: int) -> None:
    patch = Patch(body)
    patch.set(None, "annotations", "a")
    assert patch.operations == [{"op": "remove", "path": "/annotations/a"}] * removed
    assert bool(patch.response) == bool(removed)
