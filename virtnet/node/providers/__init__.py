"""ProviderNetworks on this node: a NIC is plugged into an OVS bridge, and the node's own traffic moves with it.

What the node has on an interface: ``objects`` says what it is made of (``attributes``: to the byte), ``rtnetlink`` and
``advertised`` talk to the kernel about it, ``configuration`` reads and moves it.
``nic`` says what a NIC is and whether it may be used, ``ingress`` drops what the stack would receive twice, ``records``
is the journal, ``plugging`` has the steps. ``reconciler`` decides which are due, ``maintenance`` keeps NICs plugged in,
and ``watch`` says when to look. ``guard`` undoes a half-done change where the daemon died in it, ``fallback`` moves the
configuration of a bridge without a switch to its NIC.
"""
