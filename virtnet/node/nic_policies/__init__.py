"""NicPolicies on this node: NICs are set up for virtual functions, and put back as they were found.

``selection`` says which policy a NIC has, ``plan`` what is to be done to it, ``obstacles`` what stands in the way; all
pure. ``kernel`` reads NICs and changes them, ``connectivity`` tells which of them the node itself needs, ``users`` who
has their virtual functions. ``records`` is the journal of what was found, and ``reconciler`` does what is due.
"""
