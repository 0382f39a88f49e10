"""What is to be attached: the pod says it, in the annotation that admission wrote."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from virtnet.addressing.permissions import unattachable
from virtnet.api.kubevirt import migration_of
from virtnet.api.meta import annotations_of, is_deleting, uid_of
from virtnet.api.names import ATTACHMENTS
from virtnet.api.records import Attachment, read_attachments
from virtnet.api.workloads import has_ended, is_starting
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound
from virtnet.node.journal import Entry
from virtnet.node.request import CniError, Request, first_problem

PodBody = Mapping[str, Any]


class Pods(Protocol):
    """Where pods are looked up."""

    async def pod(self, namespace: str, name: str) -> PodBody:
        """Raises ApiError's subclasses."""
        ...


class ClusterPods:
    """Pods from the API server."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def pod(self, namespace: str, name: str) -> PodBody:
        return await self._cluster.get(kinds.PODS, name, namespace)


async def wanted(pods: Pods, request: Request) -> Entry:
    """The NIC that a request is about, as its pod has it. Raises CniError."""
    if not request.pod_name or not request.pod_namespace:
        raise CniError(CniError.ENVIRONMENT, "CNI_ARGS names no pod (K8S_POD_NAMESPACE, K8S_POD_NAME)")
    where = f"pod {request.pod_namespace}/{request.pod_name}"
    pod = await _looked_up(pods, request.pod_namespace, request.pod_name)
    if pod is None:
        raise CniError(CniError.UNKNOWN_CONTAINER, f"{where} is gone")
    uid = uid_of(pod)
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
        # Of the target's own NICs: its label stays for ever, and NICs are plugged in later, too.
        migration=migration_of(pod) if is_starting(pod) else "",
        attachment=_attachment(pod, where, request),
        device=request.device,
        device_info=request.device_info,
    )


async def over(pods: Pods, entry: Entry) -> bool:
    """Whether the pod that a NIC was attached for has ended, or is ending. Raises CniError."""
    pod = await _looked_up(pods, entry.pod_namespace, entry.pod_name)
    return pod is None or uid_of(pod) != entry.pod_uid or is_deleting(pod) or has_ended(pod)


async def _looked_up(pods: Pods, namespace: str, name: str) -> PodBody | None:
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


def _attachment(pod: PodBody, where: str, request: Request) -> Attachment:
    interface = request.id.interface
    text = annotations_of(pod).get(ATTACHMENTS)
    if not text:
        raise CniError(
            CniError.NETWORK,
            f"{where} has no annotation {ATTACHMENTS}: it was admitted without virtnet's webhook",
            "check that virtnet's webhook runs and its MutatingWebhookConfiguration is there, then delete the pod",
        )
    try:
        attachments = read_attachments(text)
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
    if problem := unattachable(request.pod_namespace, attachments[interface]):
        raise CniError(
            CniError.NETWORK,
            f"{where}: annotation {ATTACHMENTS}, interface {interface}: {problem}",
            "virtnet's webhook has not written this: delete the pod",
        )
    return attachments[interface]
