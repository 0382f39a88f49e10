"""OVN's activation strategies, by version: for targets that have no gate."""

BASIC = "rarp"
"""The guest on the target stays cut off until QEMU announces it; every OVN with activation strategies knows it."""

_EVERY = "rarp,garp,na"
_SINCE = (25, 9)
"""From here on the guest's own announcements let it in, too. Given such a list, an older one blocks nothing."""


def strongest(version: str) -> str:
    """What a chassis can be trusted to know, by the version of its ovn-controller; empty where that is not known.

    >>> strongest("23.03.1"), strongest("25.09.0"), strongest("26.03.90"), strongest("")
    ('rarp', 'rarp,garp,na', 'rarp,garp,na', 'rarp')
    """
    parts = version.split(".")
    known = tuple(int(part) for part in parts[:2] if part.isascii() and part.isdigit())
    return _EVERY if len(known) == len(_SINCE) and known >= _SINCE else BASIC
