"""What workloads say that the rows of their NICs go by: names of groups, labels, and allowed addresses."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from virtnet.api.allowed_addresses import ALLOWED_ADDRESSES, allowed_in
from virtnet.api.meta import annotations_of
from virtnet.api.security_group import SECURITY_GROUPS, groups_in

NO_LABELS: Mapping[str, str] = {}
NO_GROUPS: Mapping[str, tuple[str, ...]] = {}
NO_ADDRESSES: Mapping[str, tuple[str, ...]] = {}
"""One object for all who have none."""


class _Labels(dict[str, str]):
    """Labels, for as long as anybody has them."""

    __slots__ = ("__weakref__",)


_LABELS: WeakValueDictionary[frozenset[tuple[str, str]], _Labels] = WeakValueDictionary()


def groups_named(body: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """Network -> names of groups, as a VM or pod names them. One of no form, which admission refuses, names none."""
    try:
        return groups_in(annotations_of(body).get(SECURITY_GROUPS)) or NO_GROUPS
    except ValueError:
        return NO_GROUPS


def addresses_allowed(body: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """Network -> CIDRs, as a VM or pod asks for them; of one of no form, the same."""
    try:
        return allowed_in(annotations_of(body).get(ALLOWED_ADDRESSES)) or NO_ADDRESSES
    except ValueError:
        return NO_ADDRESSES


def same_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Labels as one object for all who have the same."""
    return _LABELS.setdefault(frozenset(labels.items()), _Labels(labels)) if labels else NO_LABELS
