"""What Subnets may say though it comes to nothing yet, and the whole text of each warning."""

from tests.pinning.inputs import CHECK_WARNS, Change, Row, lan

IN_VAIN = (
    Row("a router that does not exist", Change("Subnet", "blue", {"spec": {"routers": ["vrouter"]}}), CHECK_WARNS,
        "Subnet NS/blue: routers: there is no VM or pod vrouter yet; create it, or name it as it is called"),
    Row("an address kept for a VM that does not exist",
        Change("Subnet", "blue", {"spec": {"reservations": [{"address": "10.0.0.9", "vm": "later"}]}}), CHECK_WARNS,
        "Subnet NS/blue: reservations: there is no VM later yet; create it, or name it as it is called"),
    Row("an exempt VM that does not exist",
        Change("ClusterSubnet", "NS", {"spec": {"portSecurity": {"exempt": ["NS/vrouter"]}}}), CHECK_WARNS,
        "ClusterSubnet NS: portSecurity.exempt: there is no VM or pod NS/vrouter yet; create it, or name it as it is "
        "called", after=(lan(providerNetwork="NS"),)),
    Row("DHCP options where DHCP is off",
        Change("Subnet", "blue", {"spec": {"dhcp": {"enabled": False, "bootFileName": "boot.ipxe"}}}), CHECK_WARNS,
        "Subnet NS/blue: dhcp: nobody is told bootFileName, for enabled is false; set it, or remove them"),
)  # fmt: skip
