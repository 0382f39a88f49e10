"""What Subnets may not let NICs do on layer 2, and the whole text of each refusal."""

from tests.pinning.inputs import CHECK, PIN_VM, SCHEMA, Row, lan, subnet, vm
from virtnet.api.allowed_addresses import ALLOWED_ADDRESSES

ONE_OR_RANGE = "must be one VLAN by its id, or a range from minID to maxID; all are 1 to 4094"

LAYER2 = (
    Row("a tenant's without port security", subnet(portSecurity={"exempt": ["vrouter"]}), SCHEMA,
        "<nil>: Invalid value: portSecurity's enabled and exempt, and vlanTrunks, are for a ClusterSubnet: ask an "
        "administrator for one"),
    Row("a tenant's with a trunk", subnet(vlanTrunks=[{"vlans": [{"id": 200}]}]), SCHEMA,
        "<nil>: Invalid value: portSecurity's enabled and exempt, and vlanTrunks, are for a ClusterSubnet: ask an "
        "administrator for one"),
    Row("an exempt VM without its namespace", lan(portSecurity={"exempt": ["vrouter"]}), SCHEMA,
        "<nil>: Invalid value: portSecurity.exempt: VMs and pods are named with their namespace: namespace/name"),
    Row("a tenant's with virtual functions", subnet(virtualFunctions={"trust": True}), SCHEMA,
        "<nil>: Invalid value: virtualFunctions is for a ClusterSubnet: ask an administrator for one"),
    Row("virtual functions in an overlay", lan(virtualFunctions={"trust": True}), SCHEMA,
        "<nil>: Invalid value: virtualFunctions needs a providerNetwork: virtual functions are on physical networks"),
    Row("a virtual function that may send less than it may always send",
        lan(providerNetwork="NS", virtualFunctions={"minTxRateMbps": 200, "maxTxRateMbps": 100}), SCHEMA,
        "spec.virtualFunctions: Invalid value: minTxRateMbps must not be above maxTxRateMbps"),
    Row("a trunk for a VM without its namespace", lan(vlanTrunks=[{"vms": ["vrouter"], "vlans": [{"id": 200}]}]), SCHEMA,
        "<nil>: Invalid value: vlanTrunks.vms: VMs and pods are named with their namespace: namespace/name"),
    Row("a trunk without tags", lan(vlanTrunks=[{"vlans": []}]), SCHEMA,
        "spec.vlanTrunks[0].vlans: Invalid value: 0: spec.vlanTrunks[0].vlans in body should have at least 1 items"),
    Row("a tag out of range", lan(vlanTrunks=[{"vlans": [{"id": 4095}]}]), SCHEMA,
        "spec.vlanTrunks[0].vlans[0].id: Invalid value: 4095: spec.vlanTrunks[0].vlans[0].id in body should be less than "
        "or equal to 4094"),
    Row("a tag and a range at once", lan(vlanTrunks=[{"vlans": [{"id": 7, "minID": 200, "maxID": 299}]}]),
        SCHEMA, f"spec.vlanTrunks[0].vlans[0]: Invalid value: {ONE_OR_RANGE}"),
    Row("a range of tags without an end", lan(vlanTrunks=[{"vlans": [{"minID": 200}]}]),
        SCHEMA, f"spec.vlanTrunks[0].vlans[0]: Invalid value: {ONE_OR_RANGE}"),
    Row("a range of tags that ends before it begins", lan(vlanTrunks=[{"vlans": [{"minID": 299, "maxID": 200}]}]),
        SCHEMA, f"spec.vlanTrunks[0].vlans[0]: Invalid value: {ONE_OR_RANGE}"),
    Row("a trunk for all", lan(vlanTrunks=True), SCHEMA,
        '[spec.vlanTrunks: Invalid value: "boolean": spec.vlanTrunks in body must be of type array: "boolean", <nil>: '
        "Invalid value: null: some validation rules were not checked because the object was invalid; correct the "
        "existing errors to complete validation]"),
    Row("allowed addresses outside of a tenant's Subnet", subnet(portSecurity={"allowedAddresses": ["192.168.0.0/16"]}), SCHEMA,
        "<nil>: Invalid value: portSecurity.allowedAddresses of a Subnet lie within its cidrs; for others ask an administrator "
        "for a ClusterSubnet"),
    Row("allowed addresses with host bits", lan(portSecurity={"allowedAddresses": ["192.168.0.1/16"]}), SCHEMA,
        'spec.portSecurity.allowedAddresses[0]: Invalid value: "192.168.0.1/16": must be a network such as 192.168.0.0/16 or '
        "fd00:20::/48, no host bits set"),
    Row("the gateway among allowed addresses", subnet(portSecurity={"allowedAddresses": ["10.5.0.0/28"]}), CHECK,
        "Subnet NS/odd: portSecurity.allowedAddresses: 10.5.0.0/28 has 10.5.0.1, which is the gateway's, the router's or "
        "reserved; name others"),
    Row("allowed addresses that are no list", vm(annotations={ALLOWED_ADDRESSES: '{"blue": "10.0.0.250"}'}), PIN_VM,
        f'annotation {ALLOWED_ADDRESSES} must be JSON like {{"blue": ["10.0.0.250"]}}: blue has no list of addresses'),
    Row("an allowed address that is none", vm(annotations={ALLOWED_ADDRESSES: '{"blue": ["10.0.0.300"]}'}), PIN_VM,
        f'annotation {ALLOWED_ADDRESSES} must be JSON like {{"blue": ["10.0.0.250"]}}: blue has \'10.0.0.300\', which is '
        "neither an address nor a network without host bits"),
    Row("a VLAN without a ProviderNetwork", lan(vlan=5), SCHEMA,
        "<nil>: Invalid value: vlan needs a providerNetwork"),
)  # fmt: skip
