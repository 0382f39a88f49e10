"""A CNI request as the daemon understands it: validated here, believed everywhere else (CNI 1.1.0)."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from virtnet.api.names import is_interface
from virtnet.api.nic_kinds import DEVICE_NICS

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = VERSIONS[-1]
COMMANDS = ("ADD", "DEL", "CHECK", "STATUS", "GC")
_MARK = "virtnet "

SINCE = {"CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}

_DEVICE = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]|[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_DEVICE_INFO = ("/var/run/k8s.cni.cncf.io/devinfo/cni", "/run/k8s.cni.cncf.io/devinfo/cni")
_DEVICE_INFO_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST_NAME = 240
"""Of a device-info file, so that one beside it may have a few letters more."""

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
    def mark(self) -> str:
        """What a link on the host says in its alias: whose it is."""
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
    nic: Any = None
    valid: tuple[ValidAttachment, ...] | None = Field(default=None, alias="cni.dev/valid-attachments")
    device: Any = Field(default=None, alias="deviceID")
    pci_device: Any = Field(default=None, alias="pciBusID")
    runtime: Any = Field(default=None, alias="runtimeConfig")
    """ADD alone is held to these three: a NIC must go, whatever its configuration says by now."""


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
    device: str = ""
    """ADD: the device that the runtime has chosen for it, such as a VF's PCI address; empty for none. Whoever writes a
    NetworkAttachmentDefinition may have named any.
    """
    device_info: str = ""
    """ADD: path of the file that is to say what the device is; empty for none."""
    has_devices: bool = False
    """STATUS: whether the network says that its NICs have devices."""
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
        return Request("STATUS", config.version, config.name, has_devices=config.nic in DEVICE_NICS)
    if command == "GC":
        if config.valid is None:
            raise CniError(CniError.NETWORK, "GC needs cni.dev/valid-attachments: without it everything would go")
        known = frozenset(AttachmentId(one.container, one.interface) for one in config.valid)
        return Request("GC", config.version, config.name, valid=known)
    variables = _validated(Variables, frame.env, CniError.ENVIRONMENT, "the CNI environment")
    if not is_interface(variables.interface):
        problem = f"CNI_IFNAME {variables.interface[:80]!r} is not a name for an interface"
        raise CniError(
            CniError.ENVIRONMENT, f"{problem}; use at most 15 bytes, and no slash, colon, percent sign or space"
        )
    if command != "DEL" and not variables.netns.startswith("/"):
        raise CniError(CniError.ENVIRONMENT, f"CNI_NETNS {variables.netns[:80]!r} is not an absolute path")
    arguments = _arguments(variables.arguments)
    id_ = AttachmentId(variables.container, variables.interface)
    adds = command == "ADD"
    return Request(
        command=command,  # type: ignore[arg-type]  # one of COMMANDS
        version=config.version,
        network=config.name,
        id=id_,
        netns=variables.netns,
        pod_namespace=arguments.get("K8S_POD_NAMESPACE", ""),
        pod_name=arguments.get("K8S_POD_NAME", ""),
        pod_uid=arguments.get("K8S_POD_UID", ""),
        device=_device(config) if adds else "",
        device_info=_device_info(config, id_) if adds else "",
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


def _device(config: NetworkConfig) -> str:
    runtime = config.runtime if isinstance(config.runtime, dict) else {}
    given = runtime.get("deviceID") or config.device or config.pci_device or ""
    if given and not (isinstance(given, str) and _DEVICE.fullmatch(given)):
        raise CniError(
            CniError.NETWORK,
            f"the network configuration: deviceID {str(given)[:80]!r} is no device",
            "take it out of the NetworkAttachmentDefinition: Multus writes it, of the resource in its annotation "
            "k8s.v1.cni.cncf.io/resourceName",
        )
    return given


def _device_info(config: NetworkConfig, id_: AttachmentId) -> str:
    """A tenant's configuration may name any file of the node: only one that Multus names so, for this very NIC, is."""
    runtime = config.runtime if isinstance(config.runtime, dict) else {}
    given = runtime.get("CNIDeviceInfoFile") or ""
    directory, _, name = given.rpartition("/") if isinstance(given, str) else ("", "", "")
    own = f"-{id_.container}_{id_.interface}"
    named = name.endswith(own) and _DEVICE_INFO_NAME.fullmatch(name.removesuffix(own))
    if given and not (directory in _DEVICE_INFO and named and len(name.encode()) <= _LONGEST_NAME):
        raise CniError(
            CniError.NETWORK,
            f"the network configuration: CNIDeviceInfoFile {str(given)[:200]!r} is no file of this NIC",
            f"it has to be {_DEVICE_INFO[0]}/NETWORK-CONTAINER_INTERFACE, as Multus names it",
        )
    return str(given)


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
