"""Where the socket of a vhost-user NIC is: who makes it and who looks for it say the same."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from virtnet.api.grammar import internal

LAUNCHER_SOCKETS = "/var/run/kubevirt"
"""Where QEMU makes its sockets: an emptyDir that every launcher pod has, whatever its sidecars are called."""

LAUNCHER_VOLUME = "public"
"""The pod's name for that emptyDir."""

POD_VOLUME = "vhostuser-sockets"
"""The emptyDir in which an ordinary pod's application makes its sockets; it mounts it where it likes."""

MOST_DIRECTORY_BYTES = 76
"""What an interface's longest name leaves of the 107 of a socket's path (unix(7), sun_path)."""

_DIRECTORY = "(/[A-Za-z0-9._-]+)+"

SocketDirectory = Annotated[
    str,
    Field(max_length=MOST_DIRECTORY_BYTES),
    internal(_DIRECTORY, "must be an absolute path of letters, digits, '.', '_' and '-'", empty=True),
]
"""Of an ordinary pod, as it sees it; empty: a launcher's."""


def socket_name(interface: str) -> str:
    """The file of a NIC, by its interface in the pod: the same in every pod of a VM's.

    >>> socket_name("pod16477688c0e")
    'vhostuser-pod16477688c0e.sock'
    """
    return f"vhostuser-{interface}.sock"


def socket_directory(pod: Mapping[str, Any]) -> str:
    """Where an ordinary pod has the directory of its sockets. Raises ValueError, which says what to write.

    >>> mounts = [{"name": "vhostuser-sockets", "mountPath": "/run/app"}]
    >>> volumes = [{"name": "vhostuser-sockets", "emptyDir": {}}]
    >>> socket_directory({"spec": {"containers": [{"name": "app", "volumeMounts": mounts}], "volumes": volumes}})
    '/run/app'
    """
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    if not any(one.get("name") == POD_VOLUME and isinstance(one.get("emptyDir"), Mapping) for one in volumes):
        raise ValueError(
            f"a vhost-user NIC's application makes its socket in a volume of the pod's, and there is none; add "
            f"{{name: {POD_VOLUME}, emptyDir: {{}}}}"
        )
    path = next(_mount_paths(pod), "")
    if not path:
        raise ValueError(f"no container mounts the volume {POD_VOLUME} as a whole; the application's has to")
    if not re.fullmatch(_DIRECTORY, path) or len(path) > MOST_DIRECTORY_BYTES:
        raise ValueError(
            f"volume {POD_VOLUME} is mounted at {path[:100]!r}, and a socket's path is short; choose an absolute path "
            f"of at most {MOST_DIRECTORY_BYTES} letters, digits, '.', '_' and '-'"
        )
    return path


def _mount_paths(pod: Mapping[str, Any]) -> Iterator[str]:
    for container in pod["spec"].get("containers") or ():
        for mount in container.get("volumeMounts") or ():
            if mount.get("name") == POD_VOLUME and not (mount.get("subPath") or mount.get("subPathExpr")):
                yield str(mount.get("mountPath", "")).rstrip("/")
