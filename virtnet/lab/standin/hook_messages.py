"""``kubevirt.hooks`` as protobuf's own runtime reads and writes it, from the fields of KubeVirt's .proto files."""

from virtnet.lab.standin.protobuf_messages import BYTES, INT32, MESSAGE, STRING, define

_INFO = define(
    "kubevirt.hooks.info",
    {
        "HookPoint": [("name", 1, STRING, False, ""), ("priority", 2, INT32, False, "")],
        "InfoResult": [
            ("name", 1, STRING, False, ""), ("hookPoints", 3, MESSAGE, True, "HookPoint"),
            ("versions", 4, STRING, True, ""),
        ],
    },
)  # fmt: skip
_CALLBACKS = define(
    "kubevirt.hooks.v1alpha3",
    {
        "OnDefineDomainParams": [("domainXML", 1, BYTES, False, ""), ("vmi", 2, BYTES, False, "")],
        "OnDefineDomainResult": [("domainXML", 1, BYTES, False, "")],
        "Other": [("a", 1, BYTES, False, ""), ("n", 3, INT32, False, ""), ("b", 4, BYTES, True, "")],
    },
)
InfoResult = _INFO["InfoResult"]
OnDefineDomainParams = _CALLBACKS["OnDefineDomainParams"]
OnDefineDomainResult = _CALLBACKS["OnDefineDomainResult"]
Other = _CALLBACKS["Other"]
"""With fields that OnDefineDomainParams does not have."""
