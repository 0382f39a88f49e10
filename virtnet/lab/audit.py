"""What virtnet's processes ask of a lab's API server: its audit log, of their service accounts alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from virtnet.lab.names import NAMESPACE

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:"
MEGABYTES = 32
"""Of the log, and of the one before it: a lab may be up for days."""

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{NAMESPACE}"]},
        {"level": "None"},
    ],
}


class Request(NamedTuple):
    """What a process has asked of the API server, whatever the answer was."""

    account: str
    verb: str
    resource: str
    """As kubectl names it: ``ports.virtnet.dev/status``."""
    namespace: str
    name: str


def write_policy(state: Path) -> None:
    """To be called before the API server is started."""
    _policy(state).write_text(yaml.safe_dump(POLICY))


def flags(state: Path) -> tuple[str, ...]:
    """Flags of an API server whose state directory this is."""
    return (
        f"--audit-policy-file={_policy(state)}",
        f"--audit-log-path={state / 'audit.log'}",
        f"--audit-log-maxsize={MEGABYTES}",
        "--audit-log-maxbackup=1",
    )


def requests(state: Path) -> set[Request]:
    """Each once, whatever it was answered. Discovery, which is of no resource, is not among them."""
    return {request for path in state.glob("audit*.log") for request in _read(path)}


def _read(path: Path) -> Iterator[Request]:
    with path.open() as lines:
        for line in lines:
            if line.endswith("\n") and "objectRef" in (event := json.loads(line)):  # else it is being written
                yield _request(event["user"]["username"], event["verb"], event["objectRef"])


def _request(user: str, verb: str, about: dict[str, Any]) -> Request:
    resource = named(about.get("apiGroup", ""), "/".join(filter(None, (about["resource"], about.get("subresource")))))
    return Request(user.removeprefix(ACCOUNT), verb, resource, about.get("namespace", ""), about.get("name", ""))


def named(group: str, resource: str) -> str:
    """A resource, or a subresource, as kubectl names it.

    >>> named("virtnet.dev", "ports/status"), named("", "pods")
    ('ports.virtnet.dev/status', 'pods')
    """
    plural, slash, subresource = resource.partition("/")
    return f"{plural}.{group}{slash}{subresource}" if group else resource


def _policy(state: Path) -> Path:
    return state / "audit-policy.yaml"
