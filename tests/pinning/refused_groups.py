"""Which security groups nobody can follow, and which may not be named: the whole text of each refusal or warning."""

from tests.pinning.inputs import (
    CHECK,
    CHECK_WARNS,
    PIN_VM,
    PIN_VM_WARNS,
    SCHEMA,
    Body,
    Change,
    Row,
    going,
    policy,
    subnet,
    vm,
)
from virtnet.api.security_group import MOST_GROUPS, SECURITY_GROUPS

WEB: Body = {"metadata": {"annotations": {SECURITY_GROUPS: '{"blue": ["web"]}'}}}
GOES = "is being deleted; name another, or make it anew when it is gone"


def group(**spec: object) -> Body:
    return policy("SecurityGroup", "web", **spec)


def peer(**fields: object) -> Body:
    return group(ingress=[{"peers": [fields]}])


def port(**fields: object) -> Body:
    return group(ingress=[{"ports": [fields]}])


def refused(given: str, what: Body, says: str) -> Row:
    return Row(given, what, CHECK, f"SecurityGroup NS/web: spec.{says}")


SECURITY: dict[str, tuple[Row, ...]] = {
    "Security groups": (
        refused("a peer that is nobody", peer(), "ingress[0].peers[0]: name one of securityGroup, subnet and cidr"),
        refused("a network with host bits", peer(cidr="10.0.0.1/8"),
                "ingress[0].peers[0].cidr: '10.0.0.1/8' must be a network such as 192.168.0.0/16 or fd00:20::/48, no host bits "
                "set"),
        refused("an exception that is outside", peer(cidr="10.0.0.0/8", **{"except": ["11.0.0.0/16"]}),
                "ingress[0].peers[0]: except 11.0.0.0/16 is not within 10.0.0.0/8"),
        refused("ports out of order", port(protocol="TCP", port=10, endPort=9),
                "ingress[0].ports[0]: endPort is the last of a range that begins with port, and not below that"),
        refused("a port of ICMP", port(protocol="ICMP", port=1), "ingress[0].ports[0]: ICMP has no ports; write icmpType"),
        refused("a type of UDP", port(protocol="UDP", icmpType=1), "ingress[0].ports[0]: UDP has no icmpType"),
        refused("a tenant's denial", group(ingress=[{"action": "Deny"}]),
                "ingress[0]: Deny is for a ClusterSecurityGroup: leave out what allows it, or ask an administrator"),
        refused("a selector that nobody can follow",
                group(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}),
                "selector.matchExpressions[0]: In and NotIn need values, Exists and DoesNotExist have none"),
        Row("namespaces of a tenant's group", group(allowedNamespaces=["demo"]), SCHEMA,
            "<nil>: Invalid value: allowedNamespaces is for a ClusterSecurityGroup: a SecurityGroup serves its own namespace"),
        Row("a peer that is not there", Change("SecurityGroup", "web", {"spec": peer(securityGroup="db")["spec"]}), CHECK_WARNS,
            "SecurityGroup NS/web: ingress[0]: SecurityGroup db is not there, or has no addresses", after=(group(),)),
        Row("groups for a network that the VM does not have", vm(annotations={SECURITY_GROUPS: '{"green": ["web"]}'}), PIN_VM,
            f"annotation {SECURITY_GROUPS}: the VM has no network green; it has blue"),
        Row("groups that are no list", vm(annotations={SECURITY_GROUPS: '{"blue": "web"}'}), PIN_VM,
            f'annotation {SECURITY_GROUPS} must be JSON like {{"blue": ["web"]}}: blue has no list of groups\' names'),
        Row("too many groups", vm(annotations={SECURITY_GROUPS: f'{{"blue": {["g"] * (MOST_GROUPS + 1)}}}'.replace("'", '"')}),
            PIN_VM, f'annotation {SECURITY_GROUPS} must be JSON like {{"blue": ["web"]}}: blue has 33 groups; a NIC has at most '
            "32 by name"),
        Row("a group that is being deleted, newly named by a VM", vm(annotations={SECURITY_GROUPS: '{"blue": ["web"]}'}),
            PIN_VM, f"NIC blue: SecurityGroup NS/web {GOES}",
            code=409, after=(going("SecurityGroup", "web"), Change("SecurityGroup", "web")), once_heard=True),
        Row("a group that is being deleted, newly named by a Subnet", subnet(securityGroups=["web"]), CHECK,
            f"Subnet NS/odd: SecurityGroup NS/web {GOES}",
            code=409, after=(going("SecurityGroup", "web"), Change("SecurityGroup", "web")), once_heard=True),
        Row("a group that is not there, named by a VM", Change("VirtualMachine", "db", WEB), PIN_VM_WARNS,
            "NIC blue: SecurityGroup web is not there for it; nothing passes until it is", after=(vm(),)),
        Row("a group that is not there, named by a Subnet", Change("Subnet", "blue", {"spec": {"securityGroups": ["web"]}}),
            CHECK_WARNS, "Subnet NS/blue: SecurityGroup web is not there for it; nothing passes until it is"),
    ),
}  # fmt: skip
