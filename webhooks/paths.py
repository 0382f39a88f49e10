"""The admission paths: kopf's handler ids, and the URLs in the webhook configurations, from one place.

kopf answers a request to an id that it does not know with "allowed"; the server refuses such requests (service.py),
and the configurations are generated from here (manifests.py).
"""

PIN_VM = "pin-vm"
MARK_POD = "mark-pod"
CHECK_SUBNET = "check-subnet"

ALL = frozenset({PIN_VM, MARK_POD, CHECK_SUBNET})
