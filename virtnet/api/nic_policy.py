"""NicPolicy: how many virtual functions NICs of nodes are to have, with which MTU, and how nodes' switches use NICs."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, JsonValue

from virtnet.api.grammar import DeviceAddress, DriverName, Label, ObjectName, VendorId
from virtnet.api.meta import DELETING_COLUMN, Condition, Crd, PrinterColumn, Resource, Spec
from virtnet.api.provider_network import NicName

EswitchMode = Literal["legacy", "switchdev"]
MOST_POLICIES = 64
"""Of one node."""
_SELECTORS = ("names", "addresses", "vendors", "drivers")


def _one_of(fields: tuple[str, ...], present: str, message: str) -> tuple[str, str]:
    return " || ".join(present.format(field) for field in fields), message


def _rules(*rules: tuple[str, str]) -> ConfigDict:
    """In CEL, each with what is said where it does not hold."""
    validations: list[JsonValue] = [{"rule": rule, "message": message} for rule, message in rules]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": validations})


class NicSelector(Spec):
    """NICs of a node: those of which each list that is given has one property."""

    model_config = _rules(
        _one_of(
            _SELECTORS,
            "(has(self.{0}) && size(self.{0}) > 0)",
            "select NICs by names, addresses, vendors or drivers",
        )
    )

    names: tuple[NicName, ...] = Field(
        default=(), max_length=32, description="Names of their network interfaces, such as ens1f0."
    )
    addresses: tuple[DeviceAddress, ...] = Field(
        default=(), max_length=32, description="Their PCI addresses, as virtnet node devices prints them."
    )
    vendors: tuple[VendorId, ...] = Field(default=(), max_length=32, description="Their PCI vendor ids, such as 8086.")
    drivers: tuple[DriverName, ...] = Field(default=(), max_length=32, description="Their drivers, such as ice.")


CpuNumber = Annotated[int, Field(ge=0, le=1023)]
Mebibytes = Annotated[int, Field(ge=0, le=1_048_576)]


class DpdkSettings(Spec):
    """How Open vSwitch uses DPDK (ovs-vswitchd.conf.db(5)). What is left out stays as the node has it."""

    pmd_cpus: tuple[CpuNumber, ...] = Field(
        default=(), max_length=256, description="CPUs whose threads poll ports (pmd-cpu-mask)."
    )
    socket_memory: tuple[Mebibytes, ...] = Field(
        default=(),
        max_length=64,
        description="Huge pages for each NUMA node, in MiB (dpdk-socket-mem). Open vSwitch reads that when it starts.",
    )
    pmd_sleep_max: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="How long a thread that polls may sleep, in microseconds (pmd-sleep-max); 0: never.",
    )


class NicSettings(Spec):
    """What a policy says of each NIC that it selects, and of the switch. What is left out stays as the node has it."""

    nics: NicSelector | None = Field(
        default=None,
        description="The NICs: physical functions. What is given must all hold. With them, only nodes that have one "
        "are concerned.",
    )
    vfs: int | None = Field(default=None, ge=0, le=4096, description="How many virtual functions each has; 0 for none.")
    mtu: int | None = Field(default=None, ge=576, le=65535, description="The MTU of its interface.")
    vf_driver: DriverName | None = Field(
        default=None,
        description="The driver of all its virtual functions, such as vfio-pci for VMs; without, they keep theirs.",
    )
    eswitch_mode: EswitchMode | None = Field(
        default=None, description="The mode of its eswitch: in switchdev, virtual functions have representors."
    )
    hw_offload: bool | None = Field(
        default=None,
        description="Whether the nodes' Open vSwitch gives its flows to NICs (other_config:hw-offload). "
        "It reads that when it starts.",
    )
    dpdk: DpdkSettings | None = Field(
        default=None,
        description="Have the nodes' Open vSwitch use DPDK (other_config:dpdk-init), and how; {} will do. "
        "It reads that when it starts.",
    )
    externally_managed: bool = Field(
        default=False, description="Whether somebody else sets all of that up: it is only compared with this."
    )


class NicPolicySpec(NicSettings):
    """How NICs are to be set up, and of which nodes."""

    model_config = _rules(
        _one_of(
            ("vfs", "mtu", "vfDriver", "eswitchMode", "hwOffload", "dpdk"),
            "has(self.{0})",
            "say one of vfs, mtu, vfDriver, eswitchMode, hwOffload and dpdk, or several",
        ),
        (
            "has(self.nics) || !(has(self.vfs) || has(self.mtu) || has(self.vfDriver) || has(self.eswitchMode))",
            "vfs, mtu, vfDriver and eswitchMode are of NICs: say in nics of which",
        ),
    )

    node_selector: dict[Label, Label] = Field(
        default_factory=dict, description="Labels of the nodes; empty for every node."
    )


class PlacedNicPolicy(NicSettings):
    """A NicPolicy, as one of its nodes is told of it."""

    name: ObjectName = Field(description="The NicPolicy.")
    generation: int = Field(default=0, description="Its metadata.generation, which the node's answer repeats.")


class ConfiguredNic(Spec):
    """One NIC of a node that a policy selects."""

    address: str = Field(description="Its PCI address, or bus/name.")
    interface: str = Field(default="", description="Its network interface.")
    vfs: int = Field(default=0, description="How many virtual functions it has.")
    mtu: int = Field(default=0, description="The MTU of its interface.")
    vf_driver: str = Field(default="", description="The driver of all its virtual functions; empty where they differ.")
    eswitch_mode: str = Field(default="", description="The mode of its eswitch; empty where it has none.")
    ready: bool = Field(default=False, description="Whether it is as the policy says.")
    reason: str = Field(default="", description="One CamelCase word for programs.")
    message: str = Field(default="", description="A sentence for people: what, where, and what to do.")


class NicPolicyOnNode(Spec):
    """How a policy is doing on a node."""

    generation: int = Field(default=0, description="Of the policy that this is about; 0: the node is to undo it.")
    nics: tuple[ConfiguredNic, ...] = Field(default=(), description="The NICs that it selects, by their addresses.")
    reason: str = Field(
        default="", description="Where Open vSwitch is not as it says: one CamelCase word for programs."
    )
    message: str = Field(default="", description="A sentence for people: what, where, and what to do.")


class NicFailure(Spec):
    """A NIC that is not as the policy says, or a node that has not answered."""

    node: str = Field(description="The node.")
    nic: str = Field(default="", description="The NIC; empty where it is about the node.")
    reason: str = Field(description="One CamelCase word for programs.")
    message: str = Field(default="", description="A sentence for people: what, where, and what to do.")


class NicPolicyStatus(Spec):
    """Where the policy is carried out."""

    nodes: int = Field(default=0, description="How many nodes it is for.")
    nics: int = Field(default=0, description="How many NICs of them it selects.")
    ready: int = Field(default=0, description="How many of these are as it says.")
    failures: tuple[NicFailure, ...] = Field(
        default=(), description="NICs that are not, and nodes that have not answered, with the reason; at most 64."
    )
    conditions: tuple[Condition, ...] = Field(default=(), description="Ready.")
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


class NicPolicy(Resource):
    """How NICs of nodes are set up for virtual functions. Administrators own it."""

    crd: ClassVar[Crd] = Crd(
        plural="nicpolicies",
        short_names=("nicp",),
        namespaced=False,
        columns=(
            PrinterColumn("VFs", ".spec.vfs", "integer"),
            PrinterColumn("MTU", ".spec.mtu", "integer"),
            PrinterColumn("Nodes", ".status.nodes", "integer"),
            PrinterColumn("NICs", ".status.nics", "integer"),
            PrinterColumn("Done", ".status.ready", "integer"),
            PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            DELETING_COLUMN,
            PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    spec: NicPolicySpec
    status: NicPolicyStatus = Field(default_factory=NicPolicyStatus)
