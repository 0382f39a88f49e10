"""Ways in which things can go, for those who want to see one: annotations on a migration, and on a VM's template."""

from enum import StrEnum

from virtnet.kube.kinds import VMIMS
from virtnet.lab.standin.kubevirt import Object
from virtnet.lab.standin.store import Store, uid_of

WAY = "lab.virtnet.dev/way"

DYNAMIC_NETWORKS = "lab.virtnet.dev/dynamic-networks-controller"
"""On a VM's template, and so on its pods: "none" where nobody is to plug NICs into a running pod."""


class Way(StrEnum):
    """What is special about a migration."""

    USUAL = ""
    SLOW = "slow"
    """The memory takes some twenty seconds, so that much can happen meanwhile."""
    FAILS = "fails"
    """The target does not take the guest."""
    FAILS_LATE = "fails-late"
    """The target has run the guest and announced it when it fails; the guest goes on on the source."""
    POST_COPY = "post-copy"
    """The guest goes on on the target before its memory is there."""
    FREEZES = "freezes"
    """QEMU announces the guest, which then does nothing any more."""
    UNANNOUNCED = "unannounced"
    """QEMU on the target announces nothing: there is no RARP at all."""
    VOLUMES = "volumes"
    """The VM has hot-plugged volumes: the migration is Pending until the target pod runs, and they are in it."""


def way_of(store: Store, uid: str) -> Way:
    """The way of a migration. One that is not known is the usual one."""
    found = next((one for one in store.all(VMIMS) if uid_of(one) == uid), None)
    text = (found["metadata"].get("annotations") or {}).get(WAY, "") if found else ""
    return Way(text) if text in set(Way) else Way.USUAL


def follows_networks(pod: Object) -> bool:
    """Whether somebody plugs NICs into this running pod, and out of it."""
    return bool(pod["metadata"].get("annotations", {}).get(DYNAMIC_NETWORKS) != "none")
