"""IPAMClaims: where others keep account of a NIC's addresses, they are told. Never made here, and never deleted."""

from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from virtnet.api.ipam_claims import allocated
from virtnet.controllers.state import ControllerState
from virtnet.engine.keys import ObjectKey
from virtnet.features.sources import IPAM_CLAIMS as CLAIMS
from virtnet.features.workloads import Pod
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import IPAM_CLAIMS

log = structlog.get_logger()


async def fill(cluster: Cluster, state: ControllerState, pods: Iterable[Pod]) -> None:
    """Write into the claims of an owner's pods which addresses those have. Of two pods the last one given counts.

    A claim that is not there is not missed: whoever made the pod refer to it makes it, or has deleted it. Raises
    ApiError.
    """
    for key, (pod, addresses) in _claimed(pods).items():
        claim = state.objects(CLAIMS).get(key)
        if claim is None or (claim.addresses, claim.pod) == (addresses, pod):
            continue
        status = allocated(addresses, pod, datetime.now(UTC))
        try:
            body = await cluster.patch(IPAM_CLAIMS, key.name, {"status": status}, key.namespace, subresource="status")
        except NotFound:
            log.info("IPAMClaim already gone", claim=key.key)
            continue
        state.put(IPAM_CLAIMS, body)


def _claimed(pods: Iterable[Pod]) -> dict[ObjectKey, tuple[str, tuple[str, ...]]]:
    """Key of the claim -> the pod that has it, and its addresses with prefix length."""
    return {
        claim: (pod.launcher.name, attachment.addresses)
        for pod in pods
        if not pod.launcher.terminal
        for attachment in pod.attachments
        if (claim := pod.claim(attachment))
    }
