"""ProviderNetworks on this node: a NIC is plugged into an OVS bridge, and the node's own traffic moves with it.

What the node has on an interface: ``entries`` says what it is made of, ``rtnetlink`` talks to the kernel about it,
``configuration`` reads and moves it, ``sysctls`` carries its settings over. ``nic`` says what a NIC is and whether it
may be used, ``hearing`` which are not heard twice, ``records`` is the journal, ``plugging`` has the steps. ``networks``
decides which are due, and ``watch`` when to look. ``guard`` takes a half-done change back where the daemon died in it,
``rescue`` gives the NIC back what its bridge cannot carry any more.
"""
