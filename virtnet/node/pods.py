"""What is to be attached: the pod says it, in the annotation that admission wrote."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from virtnet.api.kubevirt import MIGRATION_JOB_UID
from virtnet.api.names import ATTACHMENTS
from virtnet.api.records import Attachment
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound
from virtnet.node.journal import Entry
from virtnet.node.request import CniError, Request, first_problem

Pod = Mapping[str, Any]

_ATTACHMENTS = TypeAdapter(dict[str, Attachment])


class Pods(Protocol):
    """Where pods are looked up."""

    async def pod(self, namespace: str, name: str) -> Pod:
        """Raises ApiError's subclasses."""
        ...


class ClusterPods:
    """Pods from the API server."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def pod(self, namespace: str, name: str) -> Pod:
        return await self._cluster.get(kinds.PODS, name, namespace)


async def wanted(pods: Pods, request: Request) -> Entry:
    """The NIC that a request is about, as its pod has it. Raises CniError."""
    if not request.pod_name or not request.pod_namespace:
        raise CniError(CniError.ENVIRONMENT, "CNI_ARGS names no pod (K8S_POD_NAMESPACE, K8S_POD_NAME)")
    where = f"pod {request.pod_namespace}/{request.pod_name}"
    pod = await _looked_up(pods, request.pod_namespace, request.pod_name)
    if pod is None:
        raise CniError(CniError.UNKNOWN_CONTAINER, f"{where} is gone")
    uid = pod["metadata"]["uid"]
    if request.pod_uid and request.pod_uid != uid:
        raise CniError(CniError.UNKNOWN_CONTAINER, f"{where} is another one by now (uid {uid})")
    return Entry(
        container=request.id.container,
        interface=request.id.interface,
        network_name=request.network,
        netns=request.netns,
        pod_namespace=request.pod_namespace,
        pod_name=request.pod_name,
        pod_uid=uid,
        migration=_migration(pod),
        attachment=_attachment(pod, where, request.id.interface),
    )


def _migration(pod: Pod) -> str:
    """UID of the VMIM that the pod is the target of. Its label stays for ever, and NICs are plugged in later, too."""
    starts = (pod.get("status") or {}).get("phase") == "Pending"
    return (pod["metadata"].get("labels") or {}).get(MIGRATION_JOB_UID, "") if starts else ""


async def over(pods: Pods, entry: Entry) -> bool:
    """Whether the pod that a NIC was attached for has ended, or is ending. Raises CniError."""
    pod = await _looked_up(pods, entry.pod_namespace, entry.pod_name)
    if pod is None or pod["metadata"]["uid"] != entry.pod_uid or pod["metadata"].get("deletionTimestamp"):
        return True
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


async def _looked_up(pods: Pods, namespace: str, name: str) -> Pod | None:
    try:
        return await pods.pod(namespace, name)
    except NotFound:
        return None
    except ApiError as error:
        raise CniError(
            CniError.TRY_AGAIN,
            f"pod {namespace}/{name} cannot be looked up now: {error}",
            "it is tried again; does this node reach the API server, and may virtnet-node read pods?",
        ) from error


def _attachment(pod: Pod, where: str, interface: str) -> Attachment:
    text = (pod["metadata"].get("annotations") or {}).get(ATTACHMENTS)
    if not text:
        raise CniError(
            CniError.NETWORK,
            f"{where} has no annotation {ATTACHMENTS}: it was admitted without virtnet's webhook",
            "check that virtnet's webhook runs and its MutatingWebhookConfiguration is there, then delete the pod",
        )
    try:
        attachments = _ATTACHMENTS.validate_json(text)
    except ValidationError as error:
        problem = f"{where}: annotation {ATTACHMENTS} cannot be read: {first_problem(error)}"
        raise CniError(CniError.NETWORK, problem, "do webhook and node daemon have the same version?") from error
    if interface not in attachments:
        known = ", ".join(sorted(attachments)) or "none"
        raise CniError(
            CniError.NETWORK,
            f"{where}: annotation {ATTACHMENTS} has no interface {interface}; it has {known}",
            "is the network's NetworkAttachmentDefinition one of virtnet's (type virtnet-cni, with a Subnet)?",
        )
    return attachments[interface]
