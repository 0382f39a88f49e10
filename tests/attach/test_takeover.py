"""One port, several sandboxes of one node: a guest is in one of them, and keeps its port whatever comes late."""

from pathlib import Path

from tests.attach.rig import Node, run


def test_a_vm_that_restarts_on_its_node(node: Node) -> None:
    """The DEL of the old sandbox may come after the ADD of the new one."""
    node.pod("old", phase="Running")
    node.add("old", pod="old")
    node.pods["demo/old"]["status"]["phase"] = "Succeeded"
    node.pod("new")
    netns = node.sandbox()
    node.add("new", pod="new", netns=netns)
    assert node.claims() == {"old": None, "new": "demo/db.blue"}
    assert node.cni("DEL", container="old") == (0, None)
    assert node.claims() == {"new": "demo/db.blue"}
    assert node.cni("CHECK", container="new", netns=netns) == (0, None)


def test_a_pod_that_is_gone_or_ending_is_over(node: Node) -> None:
    node.pod("gone")
    node.add("c1", pod="gone")
    node.forget("gone")
    node.pod("ending")
    node.add("c2", pod="ending")
    node.pods["demo/ending"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    node.pod("new")
    node.add("c3", pod="new")
    assert node.claims() == {"c1": None, "c2": None, "c3": "demo/db.blue"}


def test_a_sandbox_that_is_made_anew_for_the_same_pod(node: Node) -> None:
    node.pod(phase="Running")
    old = node.sandbox()
    node.add("old", netns=old)
    node.add("new")
    assert node.claims() == {"old": None, "new": "demo/db.blue"}
    node.add("old", netns=old)
    assert node.claims() == {"old": None, "new": "demo/db.blue"}, "who has let go does not get it back"


def test_a_pod_that_runs_keeps_its_port(node: Node) -> None:
    node.pod("source", phase="Running")
    node.add("source", pod="source")
    node.pod("target", migration="m1")
    answer = node.refused(container="target", pod="target", netns=node.sandbox())
    assert (answer["code"], answer["msg"]) == (
        11,
        "port demo/db.blue belongs to pod demo/source, which runs on this node",
    )
    assert node.claims() == {"source": "demo/db.blue"}
    assert node.attached == 1


def test_who_has_let_go_has_let_go_for_good(node: Node) -> None:
    node.pod(phase="Running")
    old = node.sandbox()
    node.add("old", netns=old)
    node.add("new")
    assert node.cni("DEL", container="new") == (0, None)
    node.restart_daemon()
    assert node.claims() == {"old": None}
    assert node.cni("CHECK", container="old", netns=old) == (0, None)
    run("ip", "netns", "del", Path(old).name)
