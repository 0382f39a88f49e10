"""Which policies VMs and Subnets may not name, and the whole text of each refusal or warning."""

from tests.pinning.inputs import (
    BLUE,
    CHECK,
    CHECK_WARNS,
    PIN_VM,
    PIN_VM_WARNS,
    Body,
    Change,
    Row,
    going,
    lan,
    policy,
    subnet,
    vm,
)
from virtnet.api.qos_policy import QOS

GOLD: Body = {"metadata": {"annotations": {QOS: '{"blue": "gold"}'}}}
CLUSTERS: Body = {"metadata": {"annotations": {QOS: '{"blue": "NS"}'}}}
GOES = "is being deleted; name another, or make it anew when it is gone"

POLICIES: dict[str, tuple[Row, ...]] = {
    "Policies": (
        Row("for a network that the VM does not have", vm(annotations={QOS: '{"green": "gold"}'}), PIN_VM,
            f"annotation {QOS}: the VM has no network green; it has blue"),
        Row("for another plugin's network",
            vm(networks=(*BLUE, ("other", "foreign")), annotations={QOS: '{"other": "gold"}'}), PIN_VM,
            f"annotation {QOS}: NIC other is on no network of virtnet; remove it there"),
        Row("no policy's name", vm(annotations={QOS: '{"blue": 1}'}), PIN_VM,
            f'annotation {QOS} must be JSON like {{"blue": "gold"}}: blue has no policy\'s name'),
        Row("not JSON", vm(annotations={QOS: "gold"}), PIN_VM,
            f'annotation {QOS} must be JSON like {{"blue": "gold"}}: Expecting value: line 1 column 1 (char 0)'),
        Row("that is being deleted, newly named by a VM", vm(annotations={QOS: '{"blue": "gold"}'}), PIN_VM,
            f"NIC blue: QosPolicy NS/gold {GOES}",
            code=409, after=(going("QosPolicy", "gold"), Change("QosPolicy", "gold")), once_heard=True),
        Row("that is being deleted, newly named by a Subnet", subnet(qosPolicy={"name": "gold"}), CHECK,
            f"Subnet NS/odd: QosPolicy NS/gold {GOES}",
            code=409, after=(going("QosPolicy", "gold"), Change("QosPolicy", "gold")), once_heard=True),
        Row("that is being deleted, newly named by a ClusterSubnet",
            lan(qosPolicy={"kind": "ClusterQosPolicy", "name": "NS"}), CHECK, f"ClusterSubnet NS: ClusterQosPolicy NS {GOES}",
            code=409, after=(going("ClusterQosPolicy", "NS"), Change("ClusterQosPolicy", "NS")), once_heard=True),
        Row("that does not exist, named by a VM", Change("VirtualMachine", "db", GOLD), PIN_VM_WARNS,
            "NIC blue: QosPolicy gold does not exist; create it, or name another", after=(vm(),)),
        Row("that does not exist, named by a Subnet", Change("Subnet", "blue", {"spec": {"qosPolicy": {"name": "gold"}}}),
            CHECK_WARNS, "Subnet NS/blue: QosPolicy gold does not exist; create it, or name another"),
        Row("that does not allow the namespace", Change("VirtualMachine", "db", CLUSTERS), PIN_VM_WARNS,
            "NIC blue: ClusterQosPolicy NS does not allow namespace NS; ask its owner, or name another",
            after=(policy("ClusterQosPolicy", "NS", allowedNamespaces=["elsewhere"]), vm())),
    ),
}  # fmt: skip
