"""The messages of ``kubevirt.hooks``: of their fields, those that the plugin has a use for."""

from dataclasses import dataclass

from virtnet.protobuf import field, strings


@dataclass(frozen=True)
class OnDefineDomainParams:
    domain_xml: bytes = b""
    vmi: bytes = b""

    @classmethod
    def read(cls, message: bytes) -> "OnDefineDomainParams":
        """Raises Malformed."""
        found = dict(strings(message))  # of a field that is there twice, the last counts
        return cls(found.get(1, b""), found.get(2, b""))


def on_define_domain_result(domain_xml: bytes) -> bytes:
    return field(1, domain_xml)


def info_result(name: str, hook_points: tuple[str, ...], versions: tuple[str, ...]) -> bytes:
    """Each hook point has the priority 0, which is written by leaving it out."""
    points = b"".join(field(3, field(1, point)) for point in hook_points)
    return field(1, name) + points + b"".join(field(4, version) for version in versions)
