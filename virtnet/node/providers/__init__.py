"""ProviderNetworks on this node: a NIC is plugged into an OVS bridge, and the node's own traffic moves with it.

``configuration`` reads and moves what the node has on an interface, ``nic`` says what a NIC is and whether it may be
used, ``records`` is the journal, ``plugging`` has the steps, ``networks`` decides which are due, and ``guard`` takes a
half-done change back where the daemon died in it.
"""
