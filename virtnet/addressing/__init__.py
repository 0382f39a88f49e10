"""Which address a NIC gets: pools and leases. Pure."""
