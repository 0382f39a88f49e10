"""How OVN finds physical networks on a node: mappings in external_ids of Open_vSwitch (ovn-controller(8)).

Each is one string that others have entries in as well: only our own are changed, and only of the string that was read.
"""

BRIDGES = "ovn-bridge-mappings"
MACS = "ovn-chassis-mac-mappings"


def entries(text: str) -> dict[str, str]:
    """The entries of a mapping.

    >>> entries("physnet1:br-ex, blue:br-blue")
    {'physnet1': 'br-ex', 'blue': 'br-blue'}
    """
    pairs = (part.partition(":") for part in text.split(","))
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def with_entry(text: str, key: str, value: str | None) -> str:
    """The mapping with one entry set, or removed for None; the others stay as they are, in their order."""
    found = {name: old for name, old in entries(text).items() if value is not None or name != key}
    if value is not None:
        found[key] = value
    return ",".join(f"{name}:{old}" for name, old in found.items())
