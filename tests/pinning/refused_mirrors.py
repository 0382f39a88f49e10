"""What ClusterPortMirrors may not say, and the whole text of each refusal."""

from typing import Any

from tests.pinning.inputs import CHECK, SCHEMA, UNCHECKED, Body, Row
from virtnet.api.meta import API_VERSION


def _mirror(address: str = "192.0.2.10", **spec: Any) -> Body:
    whole = {"collector": {"address": address}, **spec}
    return {"apiVersion": API_VERSION, "kind": "ClusterPortMirror", "metadata": {"name": "NS"}, "spec": whole}


MIRRORS = {
    "ClusterPortMirrors": (
        Row("a collector by name", _mirror("collector.example"), SCHEMA,
            'spec.collector.address: Invalid value: "collector.example": must be one host\'s address in canonical form, such as '
            "10.10.0.5 or fd00:10::5"),
        Row("a protocol that OVN has not", _mirror(collector={"address": "192.0.2.10", "protocol": "VXLAN"}), SCHEMA,
            f'[spec.collector.protocol: Unsupported value: "VXLAN": supported values: "GRE", "ERSPAN", {UNCHECKED}]'),
        Row("a selector without its values", _mirror(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}), CHECK,
            "ClusterPortMirror NS: spec.selector.matchExpressions[0]: In and NotIn need values, Exists and DoesNotExist have none"),
        Row("a key that another mirror has", {**_mirror(), "metadata": {"name": "NS-2"}}, CHECK,
            "ClusterPortMirror NS-2: key 0 of collector 192.0.2.10 is ClusterPortMirror NS's; choose others", code=409,
            after=(_mirror(),)),
    ),
}  # fmt: skip
