"""What Ports say of their handoffs."""

from virtnet.api import HandoffRecord, Port
from virtnet.kube import kinds
from virtnet.lab.demo.cluster import Demo
from virtnet.lab.demo.manifests import NAMESPACE


def ended(demo: Demo, vm: str, network: str) -> HandoffRecord | None:
    """The last handoff's record, once it has ended."""
    port = Port.parse(demo.lab.ask(lambda cluster: cluster.get(kinds.of(Port), f"{vm}.{network}", NAMESPACE)))
    record = next(iter(port.status.handoffs), None)
    return record if record is not None and record.finished_at is not None else None
