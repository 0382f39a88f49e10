"""What the process measures of admission."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

registry = CollectorRegistry()
DURATION = Histogram(
    "virtnet_webhook_request_duration_seconds",
    "Admission requests.",
    ["webhook", "allowed"],
    registry=registry,
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0),
)
AUTHENTICATES = Gauge(
    "virtnet_webhook_authenticates_callers",
    "Whether callers must have a certificate: 0 where anybody who reaches the port can lease addresses.",
    registry=registry,
)
DROPPED = Counter(
    "virtnet_webhook_requests_dropped_total",
    "Admission requests that were refused at once, because they could not be decided in time; clients repeat them.",
    registry=registry,
)
