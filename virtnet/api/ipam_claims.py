"""What virtnet reads and writes of IPAMClaims (k8s.cni.cncf.io/v1alpha1)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


def claimed_addresses(claim: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses that an IPAMClaim says it has, with their prefix lengths."""
    return tuple((claim.get("status") or {}).get("ips") or ())


def claiming_pod(claim: Mapping[str, Any]) -> str:
    """The name of the pod that has them; empty for none."""
    return ((claim.get("status") or {}).get("ownerPod") or {}).get("name") or ""


def allocated(addresses: Sequence[str], pod: str, now: datetime) -> dict[str, Any]:
    """The status of an IPAMClaim whose pod has these addresses. ``now``: in UTC."""
    condition = {
        "type": "IPsAllocated",
        "status": "True",
        "reason": "SuccessfulAllocation",
        "message": f"virtnet: {', '.join(addresses)}",
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {"ips": list(addresses), "ownerPod": {"name": pod}, "conditions": [condition]}
