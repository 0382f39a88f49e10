"""What Subnets may not be, and NICs not ask for, where the site gives guests their addresses: the text of each refusal."""

import json

from tests.pinning.inputs import CHECK, MARK_POD, PIN_VM, SCHEMA, Change, Row, asking, lan, nad, pod, site, vm
from virtnet.api.multus import DEFAULT_NETWORK
from virtnet.api.names import ROUTES

SITE = (site(), nad({"clusterSubnet": "NS"}, "site-net"))
IN_SITE = (("site", "site-net"),)
AS_POD_NETWORK = vm(networks=IN_SITE)
AS_POD_NETWORK["spec"]["template"]["spec"]["networks"][0]["multus"]["default"] = True
POD_IN_SITE = pod("")
POD_IN_SITE["metadata"]["annotations"] = {DEFAULT_NETWORK: "NS/site-net"}
ROUTED = {ROUTES: json.dumps({"site": [{"destination": "192.168.0.0/16"}]})}
NO_ADDRESS = (
    "ClusterSubnet NS has no cidrs and gives no addresses, and a pod network needs one; name a Subnet with cidrs there"
)
NOT_ASKED = (
    "10.5.0.5 cannot be asked for: the Subnet has no cidrs, and the site's DHCP server gives its guests their addresses; "
    "remove the request"
)

NO_CIDRS = (
    "cidrs is missing: write a network such as 10.10.0.0/24; only a ClusterSubnet with a providerNetwork goes without, where "
    "the site gives guests their addresses"
)
WITH_OR_WITHOUT = (
    "cidrs can neither come later nor go altogether: create another ClusterSubnet, on the same VLAN if you like, and move the "
    "VMs"
)

SITES: dict[str, tuple[Row, ...]] = {
    "Where the site's DHCP server gives addresses": (
        Row("an overlay of the cluster without cidrs", lan("", dhcp={"enabled": False}), SCHEMA,
            f"<nil>: Invalid value: {NO_CIDRS}"),
        Row("without cidrs, and with DHCP", site(dhcp={}), SCHEMA,
            "<nil>: Invalid value: without cidrs the site gives guests their addresses: set dhcp.enabled to false, or write "
            "cidrs"),
        Row("without cidrs, and with a gateway", site(gateways=["10.5.0.1"], logicalGateway=True), CHECK,
            "ClusterSubnet NS: gateways, logicalGateway: a Subnet without cidrs has no addresses; remove these, or write cidrs"),
        Row("without cidrs, and with an address of the router", site(routerAddresses=["10.5.0.2"]), CHECK,
            "ClusterSubnet NS: routerAddresses: a Subnet without cidrs has no addresses; remove these, or write cidrs"),
        Row("without cidrs, and with addresses",
            site(ranges=["10.5.0.5"], excludes=["10.5.0.6"], reservations=[{"address": "10.5.0.7", "vm": "NS/db"}],
                 routes=[{"destination": "10.9.0.0/24", "gateway": "10.5.0.9"}]), CHECK,
            "ClusterSubnet NS: ranges, excludes, reservations, routes: a Subnet without cidrs has no addresses; remove these, "
            "or write cidrs"),
        Row("without cidrs, and with a querier's address",
            site(multicast={"snooping": True, "querier": True, "querierAddress": "10.5.0.2"}), CHECK,
            "ClusterSubnet NS: multicast.querierAddress: a Subnet without cidrs has no addresses; remove these, or write cidrs"),
        Row("cidrs where there were none",
            Change("ClusterSubnet", "NS", {"spec": {"cidrs": ["10.5.0.0/24"]}}), SCHEMA,
            f"<nil>: Invalid value: {WITH_OR_WITHOUT}", after=(site(),)),
        Row("cidrs given up", Change("ClusterSubnet", "NS", {"spec": {"cidrs": None, "dhcp": {"enabled": False}}}), SCHEMA,
            f"<nil>: Invalid value: {WITH_OR_WITHOUT}", after=(lan(providerNetwork="NS"),)),
        Row("an address of a VM", asking("10.5.0.5", network="site", networks=IN_SITE), PIN_VM,
            f"ClusterSubnet NS: NIC site: {NOT_ASKED}", after=SITE),
        Row("an address of a pod", pod([{"name": "site-net", "ips": ["10.5.0.5/24"]}]), MARK_POD,
            f"ClusterSubnet NS: NIC net1: {NOT_ASKED}", after=SITE),
        Row("a route", vm(networks=IN_SITE, annotations=ROUTED), PIN_VM,
            "ClusterSubnet NS: NIC site: route 192.168.0.0/16: the Subnet has no cidrs, and the site tells its guests "
            "routes; remove it", after=SITE),
        Row("as the pod network of a VM", AS_POD_NETWORK, PIN_VM, NO_ADDRESS, after=SITE),
        Row("as the pod network of a pod", POD_IN_SITE, MARK_POD, NO_ADDRESS, after=SITE),
    ),
}  # fmt: skip
