"""A CNI request as the daemon understands it: validated here, believed everywhere else (CNI 1.1.0)."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from virtnet.api.names import is_interface

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = VERSIONS[-1]
COMMANDS = ("ADD", "DEL", "CHECK", "STATUS", "GC")
_MARK = "virtnet "

SINCE = {"CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}

Container = Annotated[str, Field(max_length=200, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")]

M = TypeVar("M", bound=BaseModel)


class CniError(Exception):
    """An answer other than success. The codes are those of the CNI specification."""

    VERSION, UNKNOWN_CONTAINER, ENVIRONMENT, IO, DECODE, NETWORK = 1, 3, 4, 5, 6, 7
    TRY_AGAIN, UNAVAILABLE = 11, 50

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def answer(self) -> dict[str, Any]:
        return {"code": self.code, "msg": str(self), "details": self.details}


@dataclass(frozen=True, order=True)
class AttachmentId:
    """What the runtime calls one NIC of one sandbox, and what we call it by that."""

    container: str
    interface: str

    def __str__(self) -> str:
        return f"{self.interface} of {self.container[:12]}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.container}/{self.interface}".encode()).hexdigest()

    @property
    def host_name(self) -> str:
        """The host's end: known from the id alone, so that a repeated ADD or DEL finds what a crash has left."""
        return f"vn{self.digest[:11]}"

    @property
    def mark(self) -> str:
        """What the host's end says in its alias: whose it is."""
        return f"{_MARK}{self.container}/{self.interface}"

    @classmethod
    def marked(cls, alias: str) -> "AttachmentId | None":
        """Whose a link is by its alias; None where it is not ours."""
        container, slash, interface = alias.removeprefix(_MARK).partition("/")
        return cls(container, interface) if alias.startswith(_MARK) and slash else None


class Given(BaseModel):
    """What comes from outside: what we do not know is not ours to judge."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Frame(Given):
    """What the plugin sends."""

    env: dict[str, str]
    config: str


class Variables(Given):
    """The CNI environment of commands that are about one NIC."""

    container: Container = Field(alias="CNI_CONTAINERID")
    interface: str = Field(alias="CNI_IFNAME")
    netns: str = Field(default="", alias="CNI_NETNS")
    arguments: str = Field(default="", alias="CNI_ARGS")


class ValidAttachment(Given):
    """What the runtime still knows, in a GC."""

    container: str = Field(alias="containerID")
    interface: str = Field(alias="ifname")


class NetworkConfig(Given):
    """The network configuration, as far as it concerns the node: which addresses, the pod's annotation says."""

    version: str = Field(default=VERSIONS[0], alias="cniVersion")
    name: str = Field(max_length=253, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")
    valid: tuple[ValidAttachment, ...] | None = Field(default=None, alias="cni.dev/valid-attachments")


@dataclass(frozen=True)
class Request:
    """One request."""

    command: Literal["ADD", "DEL", "CHECK", "STATUS", "GC"]
    version: str
    network: str
    """The name in the network configuration."""
    id: AttachmentId = AttachmentId("", "")
    """Of nothing, for STATUS and GC."""
    netns: str = ""
    pod_namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    valid: frozenset[AttachmentId] = frozenset()
    """GC: what the runtime still knows of this network."""


def parse(frame: Frame) -> Request:
    """The request in a frame. Raises CniError for everything that is not one."""
    command = frame.env.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise CniError(CniError.ENVIRONMENT, f"CNI_COMMAND {command[:80]!r} is none of {', '.join(COMMANDS)}")
    config = _config(frame.config)
    since = SINCE.get(command, VERSIONS[0])
    if VERSIONS.index(config.version) < VERSIONS.index(since):
        raise CniError(CniError.VERSION, f"{command} needs cniVersion {since}; the configuration has {config.version}")
    if command == "STATUS":
        return Request("STATUS", config.version, config.name)
    if command == "GC":
        if config.valid is None:
            raise CniError(CniError.NETWORK, "GC needs cni.dev/valid-attachments: without it everything would go")
        known = frozenset(AttachmentId(one.container, one.interface) for one in config.valid)
        return Request("GC", config.version, config.name, valid=known)
    variables = _validated(Variables, frame.env, CniError.ENVIRONMENT, "the CNI environment")
    if not is_interface(variables.interface):
        problem = f"CNI_IFNAME {variables.interface[:80]!r} is not a name for an interface"
        raise CniError(CniError.ENVIRONMENT, f"{problem}; use at most 15 bytes, and no slash, colon or space")
    if command != "DEL" and not variables.netns.startswith("/"):
        raise CniError(CniError.ENVIRONMENT, f"CNI_NETNS {variables.netns[:80]!r} is not an absolute path")
    arguments = _arguments(variables.arguments)
    return Request(
        command=command,  # type: ignore[arg-type]  # one of COMMANDS
        version=config.version,
        network=config.name,
        id=AttachmentId(variables.container, variables.interface),
        netns=variables.netns,
        pod_namespace=arguments.get("K8S_POD_NAMESPACE", ""),
        pod_name=arguments.get("K8S_POD_NAME", ""),
        pod_uid=arguments.get("K8S_POD_UID", ""),
    )


def frame_of(body: bytes) -> Frame:
    """What the plugin sent. Raises CniError."""
    return _validated(Frame, _json(body, "the request"), CniError.DECODE, "the request")


def version_of(frame: Frame) -> str:
    """The version to answer in, as the plugin itself finds it: also for configurations that make no sense."""
    try:
        version = _config(frame.config).version
    except CniError:
        return NEWEST
    return version


def _config(text: str) -> NetworkConfig:
    config = _json(text, "the network configuration")
    if not isinstance(config, dict):
        raise CniError(CniError.DECODE, "the network configuration is no JSON object")
    version = config.get("cniVersion") or VERSIONS[0]
    if version not in VERSIONS:
        supported = ", ".join(VERSIONS)
        raise CniError(CniError.VERSION, f"cniVersion {str(version)[:80]!r} is not supported; use one of {supported}")
    return _validated(NetworkConfig, {**config, "cniVersion": version}, CniError.NETWORK, "the network configuration")


def _json(text: str | bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CniError(CniError.DECODE, f"{what} is not JSON: {error}") from error


def _validated(model: type[M], value: Any, code: int, what: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise CniError(code, f"{what}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """One line for people: where, what is expected, and what is there."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    given = "" if first["type"] == "missing" else f", not {str(first['input'])[:80]!r}"
    return f"{where}: {first['msg']}{given}"


def _arguments(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";") if part)
    return {name: value for name, _, value in pairs}
