"""What the API server itself refuses in Subnets and ClusterSubnets: rules in CEL, each with its message."""

from virtnet.api.vpc import NAME_RULES

_HAS_CIDRS = "(has(self.spec.cidrs) && size(self.spec.cidrs) > 0)"
_HAD_CIDRS = "(has(oldSelf.spec.cidrs) && size(oldSelf.spec.cidrs) > 0)"

RULES = (
    *NAME_RULES,
    (
        f"!{_HAS_CIDRS} || !{_HAD_CIDRS} || self.spec.cidrs == oldSelf.spec.cidrs"
        " || !self.spec.cidrs.all(c, isCIDR(c))"
        " || oldSelf.spec.cidrs.all(o, !isCIDR(o) || self.spec.cidrs.exists(c, cidr(c).containsCIDR(cidr(o))))",
        "each of cidrs may only become wider, and a second family may be added: for others create another Subnet and "
        "move the VMs",
    ),
    (
        f"{_HAS_CIDRS} == {_HAD_CIDRS}",
        "cidrs can neither come later nor go altogether: create another ClusterSubnet, on the same VLAN if you like, "
        "and move the VMs",
    ),
    ("self.spec.vpc == oldSelf.spec.vpc", "vpc is immutable: create another Subnet and move the VMs"),
    (
        "!has(self.spec.cidrs) || size(self.spec.cidrs) < 2 || !self.spec.cidrs.all(c, isCIDR(c))"
        " || cidr(self.spec.cidrs[0]).ip().family() != cidr(self.spec.cidrs[1]).ip().family()",
        "cidrs must be of different families: one of IPv4, one of IPv6, or one of each",
    ),
    (
        "!has(self.spec.gateways) || size(self.spec.gateways) < 2 || !self.spec.gateways.all(g, isIP(g))"
        " || ip(self.spec.gateways[0]).family() != ip(self.spec.gateways[1]).family()",
        "gateways must be of different families: one for each of cidrs",
    ),
    (
        f"!has(self.spec.gateways) || !{_HAS_CIDRS} || !self.spec.cidrs.all(c, isCIDR(c))"
        " || self.spec.gateways.all(g, !isIP(g) ||"
        " self.spec.cidrs.exists(c, cidr(c).containsIP(g) && c.split('/')[0] != g))",
        "each of gateways must be a host address of one of cidrs",
    ),
    (
        "!has(self.spec.mtu) || self.spec.mtu >= 1280 || !has(self.spec.cidrs)"
        " || self.spec.cidrs.all(c, cidr(c).ip().family() == 4)",
        "mtu must be at least 1280 where there is IPv6",
    ),
)
SUBNET_RULES = (
    *RULES,
    (
        _HAS_CIDRS,
        "cidrs is missing: write a network such as 10.10.0.0/24; only a ClusterSubnet with a providerNetwork goes "
        "without, where the site gives guests their addresses",
    ),
    (
        "!has(self.spec.allowedNamespaces) || size(self.spec.allowedNamespaces) == 0",
        "allowedNamespaces is for a ClusterSubnet: a Subnet serves its own namespace",
    ),
    (
        "!has(self.spec.providerNetwork) || self.spec.providerNetwork == ''",
        "only a ClusterSubnet may name a providerNetwork",
    ),
    (
        "!has(self.spec.routers) || self.spec.routers.all(r, !r.contains('/'))",
        "routers of a Subnet are named without a namespace: it serves its own",
    ),
    (
        "(!has(self.spec.vlanTrunks) || size(self.spec.vlanTrunks) == 0) && (!has(self.spec.portSecurity)"
        " || ((!has(self.spec.portSecurity.enabled) || self.spec.portSecurity.enabled)"
        " && (!has(self.spec.portSecurity.exempt) || size(self.spec.portSecurity.exempt) == 0)))",
        "portSecurity's enabled and exempt, and vlanTrunks, are for a ClusterSubnet: ask an administrator for one",
    ),
    (
        f"!has(self.spec.portSecurity) || !has(self.spec.portSecurity.allowedAddresses) || !{_HAS_CIDRS}"
        " || self.spec.portSecurity.allowedAddresses.all(a, !isCIDR(a) ||"
        " self.spec.cidrs.exists(c, isCIDR(c) && cidr(c).containsCIDR(cidr(a))))",
        "portSecurity.allowedAddresses of a Subnet lie within its cidrs; for others ask an administrator for a "
        "ClusterSubnet",
    ),
    (
        "!has(self.spec.virtualFunctions)",
        "virtualFunctions is for a ClusterSubnet: ask an administrator for one",
    ),
    ("!has(self.spec.vlan) || self.spec.vlan == 0", "vlan is for a ClusterSubnet with a providerNetwork"),
    (
        "(!has(self.spec.logicalGateway) || !self.spec.logicalGateway)"
        " && (!has(self.spec.routerAddresses) || size(self.spec.routerAddresses) == 0)",
        "logicalGateway and routerAddresses are for a ClusterSubnet with a providerNetwork",
    ),
)
CLUSTER_SUBNET_RULES = (
    *RULES,
    (
        f"{_HAS_CIDRS} || (has(self.spec.providerNetwork) && self.spec.providerNetwork != '')",
        "cidrs is missing: write a network such as 10.10.0.0/24; only a ClusterSubnet with a providerNetwork goes "
        "without, where the site gives guests their addresses",
    ),
    (
        f"{_HAS_CIDRS} || (has(self.spec.dhcp) && !self.spec.dhcp.enabled)",
        "without cidrs the site gives guests their addresses: set dhcp.enabled to false, or write cidrs",
    ),
    ("!has(self.spec.vpc) || self.spec.vpc.kind == 'ClusterVpc'", "a ClusterSubnet lies in a ClusterVpc"),
    (
        "!has(self.spec.routers) || self.spec.routers.all(r, r.contains('/'))",
        "routers of a ClusterSubnet are named with their namespace: namespace/name",
    ),
    (
        "!has(self.spec.portSecurity) || !has(self.spec.portSecurity.exempt)"
        " || self.spec.portSecurity.exempt.all(v, v.contains('/'))",
        "portSecurity.exempt: VMs and pods are named with their namespace: namespace/name",
    ),
    (
        "!has(self.spec.vlanTrunks) || self.spec.vlanTrunks.all(t, !has(t.vms) || t.vms.all(v, v.contains('/')))",
        "vlanTrunks.vms: VMs and pods are named with their namespace: namespace/name",
    ),
    (
        "!has(self.spec.qosPolicy) || self.spec.qosPolicy.kind == 'ClusterQosPolicy'",
        "the qosPolicy of a ClusterSubnet is a ClusterQosPolicy",
    ),
    (
        "(has(self.spec.providerNetwork) && self.spec.providerNetwork != '') || self.spec.vlan == 0",
        "vlan needs a providerNetwork",
    ),
    (
        "(has(self.spec.providerNetwork) && self.spec.providerNetwork != '') || !has(self.spec.virtualFunctions)",
        "virtualFunctions needs a providerNetwork: virtual functions are on physical networks",
    ),
    (
        "(has(self.spec.providerNetwork) && self.spec.providerNetwork != '')"
        " || ((!has(self.spec.logicalGateway) || !self.spec.logicalGateway)"
        " && (!has(self.spec.routerAddresses) || size(self.spec.routerAddresses) == 0))",
        "logicalGateway and routerAddresses need a providerNetwork: an overlay's gateway is the Vpc's router",
    ),
    (
        "!has(self.spec.logicalGateway) || !self.spec.logicalGateway"
        " || !has(self.spec.routerAddresses) || size(self.spec.routerAddresses) == 0",
        "with logicalGateway the router has the gateway's address: remove routerAddresses",
    ),
)
