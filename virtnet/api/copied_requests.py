"""Requests that are copies: in a clone of a VM, in a restore under another name, in what a backup tool brings back."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from virtnet.api.addresses import canonical
from virtnet.api.names import ADDRESSES, KUBEVIRT_ADDRESSES
from virtnet.api.vm_requests import InvalidRequest, RequestAnnotations, addresses_in


@dataclass(frozen=True)
class OwnRequests:
    """What a manifest asks for itself, once what it has copied is left out."""

    annotations: RequestAnnotations
    networks: frozenset[str]
    """Those for which a request was left out."""


def own_requests(requested: RequestAnnotations, others: Mapping[str, Collection[str]]) -> OwnRequests:
    """``others``: by network, the addresses of the VM that the manifest is a copy of."""
    networks: set[str] = set()

    def own(texts: Mapping[str, str]) -> dict[str, str]:
        left = dict(texts)
        for name in texts.keys() & {ADDRESSES, KUBEVIRT_ADDRESSES}:
            with suppress(InvalidRequest):
                found = addresses_in(name, texts[name])
                copied = {
                    one for one, addresses in found.items() if {*map(canonical, addresses)} <= {*others.get(one, ())}
                }
                networks.update(copied)
                if copied:
                    rest = {one: addresses for one, addresses in found.items() if one not in copied}
                    left[name] = json.dumps(rest) if rest else ""
        return left

    return OwnRequests(RequestAnnotations(own(requested.own), own(requested.template)), frozenset(networks))
