"""What is used of kopf beyond its public interface does what it is there for, in the version that it was made for."""

from importlib.metadata import version

import kopf

from webhooks import kopf_internals, paths


def test_kopf_is_of_the_version_that_its_internals_were_read_in() -> None:
    """Another version: read ``Insights`` and ``ResourceMemories`` of it, and run the tests of pinning."""
    assert version("kopf").rpartition(".")[0] == kopf_internals.VERSION


async def test_kopf_remembers_no_object() -> None:
    memories = kopf_internals.NoMemories()
    for uid in ("a", "b"):
        body = {"metadata": {"name": uid, "uid": uid}}
        await memories.recall(body, noticed_by_listing=False)
    assert list(memories.iter_all_memories()) == []


async def test_kopf_takes_reviews_of_kinds_that_it_has_not_found() -> None:
    served = {kopf.Resource(one.group, one.version, plural) for one in paths.ALL.values() for plural in one.plurals}
    known = kopf_internals.insights().webhook_resources
    known.difference_update(set(known))
    assert known == served
