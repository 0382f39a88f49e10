"""What virtnet reads of NetworkPolicy (networking.k8s.io) and MultiNetworkPolicy (k8s.cni.cncf.io): one spec."""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from virtnet.api.meta import Spec, annotations_of
from virtnet.api.multus import qualified
from virtnet.api.security_group import LabelSelector

POLICY_FOR = "k8s.v1.cni.cncf.io/policy-for"
"""On a MultiNetworkPolicy: the NADs whose NICs it is for, separated by commas."""

PolicyProtocol = Literal["TCP", "UDP", "SCTP"]
PortNumber = Annotated[int, Field(ge=1, le=65535)]


class IpBlock(Spec):
    """A network without some of its parts."""

    cidr: str
    excluded: tuple[str, ...] = Field(default=(), alias="except")

    @field_validator("cidr")
    @classmethod
    def _network(cls, text: str) -> str:
        return str(ip_network(text, strict=False))

    @field_validator("excluded")
    @classmethod
    def _networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(text, strict=False)) for text in texts)


class PolicyPeer(Spec):
    """Pods by their labels, in the policy's namespace or in those that are selected; or a network."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IpBlock | None = None

    @property
    def of_pods(self) -> bool:
        return self.ip_block is None and (self.pod_selector is not None or self.namespace_selector is not None)


class PolicyPort(Spec):
    """A protocol, and a port of it by number or name, a range, or all."""

    protocol: PolicyProtocol = "TCP"
    port: PortNumber | str | None = None
    end_port: PortNumber | None = None


class PolicyRule(Spec):
    """Packets that pass."""

    peers: tuple[PolicyPeer, ...] = ()
    """Any of these; everybody for none."""
    ports: tuple[PolicyPort, ...] = ()
    """Any of these; everything for none."""


class IngressRule(PolicyRule):
    peers: tuple[PolicyPeer, ...] = Field(default=(), alias="from")


class EgressRule(PolicyRule):
    peers: tuple[PolicyPeer, ...] = Field(default=(), alias="to")


class NetworkPolicySpec(Spec):
    """A direction that is not among its types it says nothing of."""

    pod_selector: LabelSelector = Field(default_factory=LabelSelector)
    ingress: tuple[IngressRule, ...] = ()
    egress: tuple[EgressRule, ...] = ()
    policy_types: tuple[Literal["Ingress", "Egress"], ...] = ()

    @field_validator("ingress", "egress", "policy_types", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return () if value is None else value

    @property
    def isolates_ingress(self) -> bool:
        return "Ingress" in self.policy_types if self.policy_types else True

    @property
    def isolates_egress(self) -> bool:
        return "Egress" in self.policy_types if self.policy_types else bool(self.egress)


def read_policy(body: Mapping[str, Any]) -> tuple[NetworkPolicySpec, str]:
    """The spec of a policy, and what of it cannot be understood: such a one lets nothing pass whom it selects."""
    spec = body.get("spec") or {}
    try:
        return NetworkPolicySpec.model_validate(spec), ""
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"spec.{'.'.join(map(str, first['loc']))}: {first['msg']}"
    shut = {"policyTypes": ["Ingress", "Egress"]}
    try:
        return NetworkPolicySpec.model_validate({**shut, "podSelector": spec["podSelector"]}), problem
    except (ValidationError, KeyError, TypeError):
        return NetworkPolicySpec.model_validate(shut), problem


def policy_networks(body: Mapping[str, Any]) -> frozenset[str]:
    """The NADs (``namespace/name``) that a MultiNetworkPolicy is for; none where it names none."""
    names = (name.strip() for name in (annotations_of(body).get(POLICY_FOR) or "").split(","))
    return frozenset(qualified(name, body["metadata"]["namespace"]) for name in names if name)
