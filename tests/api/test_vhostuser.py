"""Where an ordinary pod has the sockets of its vhost-user NICs."""

from typing import Any

import pytest

from virtnet.api.vhostuser import socket_directory

VOLUME = {"name": "vhostuser-sockets", "emptyDir": {}}


def pod(*mounts: dict[str, Any], volume: dict[str, Any] = VOLUME, of: str = "containers") -> dict[str, Any]:
    mounted = [{"name": "vhostuser-sockets", **mount} for mount in mounts]
    return {"spec": {of: [{"name": "app", "volumeMounts": mounted}], "volumes": [volume]}}


@pytest.mark.parametrize(
    ("of", "directory"),
    [
        (pod({"mountPath": "/run/app/"}), "/run/app"),
        (pod({"mountPath": "/a", "subPath": "x"}, {"mountPath": "/b"}), "/b"),
        (pod({"mountPath": "/run"}, volume={**VOLUME, "emptyDir": {"medium": "Memory"}}), "/run"),
        (pod({"mountPath": "/" + "x" * 75}), "/" + "x" * 75),
    ],
)
def test_where_it_is(of: dict[str, Any], directory: str) -> None:
    assert socket_directory(of) == directory


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ({"spec": {"containers": []}}, "there is none; add"),
        (
            pod({"mountPath": "/run"}, volume={"name": "vhostuser-sockets", "hostPath": {"path": "/"}}),
            "there is none; add",
        ),
        (pod({"mountPath": "/run"}, volume={"name": "other", "emptyDir": {}}), "there is none; add"),
        (pod(), "no container mounts the volume"),
        (pod({"mountPath": "/run", "subPath": "x"}), "no container mounts the volume"),
        (pod({"mountPath": "/run"}, of="initContainers"), "no container mounts the volume"),
        (pod({"mountPath": "/a b"}), "choose an absolute path"),
        (pod({"mountPath": "run"}), "choose an absolute path"),
        (pod({"mountPath": "/" + "x" * 76}), "choose an absolute path"),
    ],
)
def test_what_is_refused(of: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        socket_directory(of)
