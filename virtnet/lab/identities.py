"""Who the product's processes are: tokens of the very service accounts that manifests/rbac gives their rights to.

A node's token is bound to its Node, as that of a pod there is, so the policy that keeps nodes apart works here too.
"""

import subprocess
from pathlib import Path

import yaml

from virtnet.lab.control_plane import ControlPlane
from virtnet.lab.names import NAMESPACE

ACCOUNTS = ("virtnet-controller", "virtnet-webhook", "virtnet-cli")
NODE_ACCOUNT = "virtnet-node"
LIFETIME = "8760h"


class NoToken(Exception):  # noqa: N818 - says what happened
    """The API server made no token. The message is what kubectl said."""


def write_kubeconfig(control_plane: ControlPlane, name: str, token: str) -> Path:
    """Whoever has this token, in the place of the administrator."""
    content = yaml.safe_load(control_plane.kubeconfig.read_text())
    content["users"] = [{"name": name, "user": {"token": token}}]
    content["contexts"][0]["context"]["user"] = name
    path = control_plane.kubeconfig_of(name)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def token(control_plane: ControlPlane, account: str, *, namespace: str = NAMESPACE, node: str = "") -> str:
    """A token of a service account, bound to a Node if one is named. Raises NoToken."""
    bound = ("--bound-object-kind=Node", f"--bound-object-name={node}") if node else ()
    command = [
        *control_plane.prefix,
        control_plane.binaries.kubectl,
        f"--kubeconfig={control_plane.kubeconfig}",
        *("create", "token", account, f"--namespace={namespace}", f"--duration={LIFETIME}", *bound),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NoToken(f"{account}: {ran.stderr.strip()}")
    return ran.stdout.strip()
