"""A CNI request as the daemon understands it: validated here, believed everywhere else (CNI 1.1.0)."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
COMMANDS = ("ADD", "DEL", "CHECK", "STATUS", "GC")

_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_INTERFACE = re.compile(r"[^/:\s]{1,15}")


class CniError(Exception):
    """An answer other than success. The codes are those of the CNI specification."""

    VERSION, UNSUPPORTED, UNKNOWN_CONTAINER, ENVIRONMENT, IO, DECODE, NETWORK = 1, 2, 3, 4, 5, 6, 7
    TRY_AGAIN, UNAVAILABLE = 11, 50

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def answer(self) -> dict[str, Any]:
        return {"code": self.code, "msg": str(self), "details": self.details}


@dataclass(frozen=True, order=True)
class AttachmentId:
    """What the runtime calls one NIC of one sandbox."""

    container: str
    interface: str

    def __str__(self) -> str:
        return f"{self.interface} of {self.container[:12]}"


@dataclass(frozen=True)
class Request:
    """One request. For STATUS and GC only ``command`` and ``config`` mean anything."""

    command: str
    version: str
    id: AttachmentId
    netns: str = ""
    pod_namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def valid_attachments(self) -> frozenset[AttachmentId]:
        """GC: what the runtime still knows. Raises CniError when it does not say."""
        entries = self.config.get("cni.dev/valid-attachments")
        if not isinstance(entries, list):
            raise CniError(CniError.NETWORK, "GC needs cni.dev/valid-attachments: without it everything would go")
        try:
            return frozenset(AttachmentId(str(e["containerID"]), str(e["ifname"])) for e in entries)
        except (TypeError, KeyError) as error:
            raise CniError(
                CniError.NETWORK, "cni.dev/valid-attachments: entries need containerID and ifname"
            ) from error


def parse(frame: bytes) -> Request:
    """The request in a frame. Raises CniError for everything that is not one."""
    try:
        body = json.loads(frame)
        env, text = body["env"], body["config"]
        variables = {str(name): str(value) for name, value in env.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CniError(CniError.DECODE, "the request is no JSON object of env and config") from error
    command = variables.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise CniError(CniError.ENVIRONMENT, f"CNI_COMMAND {command!r} is none of {', '.join(COMMANDS)}")
    config = _config(text)
    version = config.get("cniVersion", "")
    if version not in VERSIONS:
        raise CniError(CniError.VERSION, f"cniVersion {version!r} is not supported; use one of {', '.join(VERSIONS)}")
    if command in ("STATUS", "GC"):
        if version != VERSIONS[-1]:
            raise CniError(CniError.VERSION, f"{command} needs cniVersion 1.1.0; the configuration has {version}")
        return Request(command, version, AttachmentId("", ""), config=config)
    arguments = _arguments(variables.get("CNI_ARGS", ""))
    netns = variables.get("CNI_NETNS", "")
    if command in ("ADD", "CHECK") and not netns.startswith("/"):
        raise CniError(CniError.ENVIRONMENT, f"CNI_NETNS {netns!r} is not a path")
    return Request(
        command=command,
        version=version,
        id=_id(variables),
        netns=netns,
        pod_namespace=arguments.get("K8S_POD_NAMESPACE", ""),
        pod_name=arguments.get("K8S_POD_NAME", ""),
        pod_uid=arguments.get("K8S_POD_UID", ""),
        config=config,
    )


def _config(text: Any) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, TypeError) as error:
        raise CniError(CniError.DECODE, f"the network configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CniError(CniError.DECODE, "the network configuration is no JSON object")
    return config


def _id(variables: dict[str, str]) -> AttachmentId:
    container, interface = variables.get("CNI_CONTAINERID", ""), variables.get("CNI_IFNAME", "")
    if not _CONTAINER.fullmatch(container) or len(container) > 200:
        raise CniError(CniError.ENVIRONMENT, f"CNI_CONTAINERID {container[:80]!r} is not a container's id")
    if not _INTERFACE.fullmatch(interface) or interface in (".", ".."):
        raise CniError(CniError.ENVIRONMENT, f"CNI_IFNAME {interface[:80]!r} is not a name for an interface")
    return AttachmentId(container, interface)


def _arguments(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";") if part)
    return {name: value for name, _, value in pairs}
