"""IPAMClaims: where others keep account of a NIC's addresses, they are told. Never made here, and never deleted."""

from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from virtnet.controllers.store import Store
from virtnet.controllers.views import Pod
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import IPAM_CLAIMS

log = structlog.get_logger()


async def fill(cluster: Cluster, store: Store, pods: Iterable[Pod]) -> None:
    """Write into the claims of an owner's pods which addresses those have. Of two pods the last one given counts.

    A claim that is not there is not missed: whoever made the pod refer to it makes it, or has deleted it. Raises
    ApiError.
    """
    for key, (pod, addresses) in _claimed(pods).items():
        claim = store.ipam_claims.get(key)
        if claim is None or (claim.addresses, claim.pod) == (addresses, pod):
            continue
        namespace, name = key.split("/")
        condition = {
            "type": "IPsAllocated",
            "status": "True",
            "reason": "SuccessfulAllocation",
            "message": f"virtnet: {', '.join(addresses)}",
            "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        status = {"ips": list(addresses), "ownerPod": {"name": pod}, "conditions": [condition]}
        try:
            body = await cluster.patch(IPAM_CLAIMS, name, {"status": status}, namespace, subresource="status")
        except NotFound:
            log.info("IPAMClaim already gone", claim=key)
            continue
        store.ipam_claims.put(body)


def _claimed(pods: Iterable[Pod]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Key of the claim -> the pod that has it, and its addresses with prefix length."""
    return {
        claim: (pod.launcher.name, attachment.addresses)
        for pod in pods
        if not pod.launcher.terminal
        for attachment in pod.attachments
        if (claim := pod.claim(attachment))
    }
