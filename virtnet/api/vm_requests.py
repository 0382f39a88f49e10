"""What a VM's annotations ask for its NICs: addresses, routes, NIC kinds and policies."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from virtnet.api.addresses import MOST_ADDRESSES, canonical
from virtnet.api.allowed_addresses import ALLOWED_ADDRESSES, allowed_in
from virtnet.api.names import ADDRESSES, KUBEVIRT_ADDRESSES, NIC, ROUTES
from virtnet.api.nic_kinds import is_nic_kind
from virtnet.api.qos_policy import QOS, policies_in
from virtnet.api.routes import RouteRequest, read_requests
from virtnet.api.security_group import SECURITY_GROUPS, groups_in

T = TypeVar("T")

OWN = (ADDRESSES, ROUTES, NIC, QOS, SECURITY_GROUPS, ALLOWED_ADDRESSES)
"""The annotations of a VM that are read; a change of any is asked about at admission."""


LARGEST = 64 * 1024
"""Characters of one of them: 32 NICs have room for all routes that DHCP has room for."""


class InvalidRequest(ValueError):  # noqa: N818 - says what it is
    """An annotation that cannot be understood; the text says which, and what to write instead."""


@dataclass(frozen=True)
class VmRequests:
    """What is asked for, by network name."""

    addresses: Mapping[str, tuple[str, ...]]
    routes: Mapping[str, tuple[RouteRequest, ...]]
    nics: Mapping[str, str]
    """NIC kinds."""


@dataclass(frozen=True)
class RequestAnnotations:
    """The annotations of a VM that ask for something, as texts."""

    own: Mapping[str, str]
    template: Mapping[str, str]

    @classmethod
    def of(cls, own: Mapping[str, str], template: Mapping[str, str]) -> "RequestAnnotations":
        """From all annotations of a VM and of its template. KubeVirt's own is the template's."""
        ours = {name: text for name, text in own.items() if name in OWN}
        inner = {name: text for name, text in template.items() if name in (ADDRESSES, ROUTES, NIC, KUBEVIRT_ADDRESSES)}
        return cls(ours, inner)

    def differing(self, before: "RequestAnnotations") -> "RequestAnnotations":
        """Those that are not as they were."""
        own = {name: text for name, text in self.own.items() if text != before.own.get(name)}
        template = {name: text for name, text in self.template.items() if text != before.template.get(name)}
        return RequestAnnotations(own, template)

    def texts(self, name: str) -> Iterator[tuple[str, str]]:
        """Each text of an annotation, and what people call it."""
        if self.own.get(name):
            yield name, self.own[name]
        if self.template.get(name):
            yield f"{name} of the template", self.template[name]


NOTHING = RequestAnnotations({}, {})


def requests_of(requested: RequestAnnotations, stored: RequestAnnotations, networks: Collection[str]) -> VmRequests:
    """What the annotations of a manifest ask for ``networks``, besides those that it is ``stored`` with.

    A request that is stored already may outlive its network: KubeVirt itself removes an unplugged NIC from the VM, and
    leaves the annotations alone. One that is stored and cannot be read asks for nothing. Raises InvalidRequest for any
    other network that is not there, for an annotation of another form, and where two of them contradict each other.
    """
    nics = _requested(requested, stored, (NIC,), kinds_in, networks)
    for annotation, read in _BY_CONTROLLER:
        _requested(requested, stored, (annotation,), read, networks)  # the controller reads it of the stored VM
    return VmRequests(
        addresses=_requested(requested, stored, (ADDRESSES, KUBEVIRT_ADDRESSES), addresses_in, networks),
        routes=_requested(requested, stored, (ROUTES,), routes_in, networks),
        nics={network: kind for network, (kind,) in nics.items()},
    )


def newly_requested(
    requested: RequestAnnotations, stored: RequestAnnotations, attached: Collection[str]
) -> dict[str, str]:
    """NIC -> the annotation of virtnet's own, heard by no other plugin, by which something is newly asked for it.

    What was admitted once may stay, as above; so may what is asked for a NIC that is not ``attached``, or not for long.
    Raises InvalidRequest.
    """
    found: dict[str, str] = {}
    for annotation, read in ((ADDRESSES, addresses_in), *_BY_NETWORK):
        before = dict(stored.texts(annotation))
        fresh = {key: text for key, text in requested.texts(annotation) if text != before.get(key)}
        found |= {nic: annotation for key, text in fresh.items() for nic in read(key, text) if nic in attached}
    return found


def with_new_requests(requested: RequestAnnotations, stored: RequestAnnotations) -> frozenset[str]:
    """The networks for which something is asked that was not when the manifest was stored, as far as it is readable."""
    found: set[str] = set()
    for annotation in (ADDRESSES, KUBEVIRT_ADDRESSES):
        found |= _differing(requested, stored, annotation, addresses_in)
    for annotation, read in _BY_NETWORK:
        found |= _differing(requested, stored, annotation, read)
    return frozenset(found | _differing(requested, stored, ROUTES, routes_in))


def _differing(
    requested: RequestAnnotations,
    stored: RequestAnnotations,
    annotation: str,
    read: Callable[[str, str], dict[str, tuple[T, ...]]],
) -> set[str]:
    before = dict(stored.texts(annotation))
    found: set[str] = set()
    for key, text in requested.texts(annotation):
        if text == before.get(key):
            continue
        with suppress(InvalidRequest):
            earlier: dict[str, tuple[T, ...]] = {}
            with suppress(InvalidRequest):
                earlier = read(key, before.get(key, ""))
            found |= {network for network, values in read(key, text).items() if values != earlier.get(network)}
    return found


def _requested(
    requested: RequestAnnotations,
    stored: RequestAnnotations,
    annotations: tuple[str, ...],
    read: Callable[[str, str], dict[str, tuple[T, ...]]],
    networks: Collection[str],
) -> dict[str, tuple[T, ...]]:
    wanted: dict[str, tuple[str, tuple[T, ...]]] = {}
    before = {key: text for name in annotations for key, text in stored.texts(name)}
    for key, text in ((key, text) for name in annotations for key, text in requested.texts(name)):
        try:
            found = read(key, text)
        except InvalidRequest:
            if text == before.get(key):
                continue
            raise
        for network, values in found.items():
            if network not in networks and text == before.get(key):
                continue
            if network not in networks:
                listed = ", ".join(sorted(networks)) or "none"
                raise InvalidRequest(f"annotation {key}: the VM has no network {network}; it has {listed}")
            first, already = wanted.setdefault(network, (key, values))
            ours, others = ([canonical(str(one)) for one in some] for some in (values, already))
            if set(ours) != set(others):
                raise InvalidRequest(
                    f"NIC {network}: {first} asks for {', '.join(others)}, and {key} for {', '.join(ours)}; "
                    "keep one of them"
                )
    return {network: values for network, (_, values) in wanted.items()}


def routes_in(key: str, text: str) -> dict[str, tuple[RouteRequest, ...]]:
    """What an annotation asks for, by network or interface. Raises InvalidRequest."""
    form = f'annotation {key} must be JSON like {{"blue": [{{"destination": "192.168.0.0/16"}}]}}'
    found = _object(key, text, form)
    try:
        return {network: read_requests(routes) for network, routes in found.items() if routes not in (None, [])}
    except ValueError as error:
        raise InvalidRequest(f"annotation {key}: {error}") from error


def addresses_in(key: str, text: str) -> dict[str, tuple[str, ...]]:
    """As with routes."""
    form = f'annotation {key} must be JSON like {{"blue": ["10.0.0.5"]}}'
    found = _object(key, text, form)
    for network, addresses in found.items():
        if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
            raise InvalidRequest(f"{form}: {network} has no list of addresses")
        if len(addresses) > MOST_ADDRESSES:
            raise InvalidRequest(
                f"annotation {key}: {network} asks for {len(addresses)} addresses; a NIC has one of each family"
            )
    return {network: tuple(addresses) for network, addresses in found.items() if addresses}


def kinds_in(key: str, text: str) -> dict[str, tuple[str, ...]]:
    """As with routes."""
    form = f'annotation {key} must be JSON like {{"blue": "veth"}}'
    found = _object(key, text, form)
    for network, kind in found.items():
        if kind not in (None, "") and not is_nic_kind(kind):
            raise InvalidRequest(f"{form}: {network} has no NIC kind")
    return {network: (kind,) for network, kind in found.items() if kind}


def qos_in(key: str, text: str) -> dict[str, tuple[str, ...]]:
    """As with routes."""
    _bound(key, text)
    try:
        return {network: (name,) for network, name in policies_in(text).items()}
    except ValueError as error:
        raise InvalidRequest(f'annotation {key} must be JSON like {{"blue": "gold"}}: {error}') from error


def security_groups_in(key: str, text: str) -> dict[str, tuple[str, ...]]:
    """As with routes."""
    _bound(key, text)
    try:
        return groups_in(text)
    except ValueError as error:
        raise InvalidRequest(f'annotation {key} must be JSON like {{"blue": ["web"]}}: {error}') from error


def allowed_addresses_in(key: str, text: str) -> dict[str, tuple[str, ...]]:
    """As with routes."""
    _bound(key, text)
    try:
        return allowed_in(text)
    except ValueError as error:
        raise InvalidRequest(f'annotation {key} must be JSON like {{"blue": ["10.0.0.250"]}}: {error}') from error


_BY_CONTROLLER = (
    (QOS, qos_in),
    (SECURITY_GROUPS, security_groups_in),
    (ALLOWED_ADDRESSES, allowed_addresses_in),
)
_BY_NETWORK = ((NIC, kinds_in), *_BY_CONTROLLER)


def _bound(key: str, text: str) -> None:
    """Raises InvalidRequest for a text that is longer than anybody needs."""
    if len(text) > LARGEST:
        raise InvalidRequest(f"annotation {key} has {len(text)} characters; virtnet reads at most {LARGEST}")


def _object(key: str, text: str, form: str) -> dict[str, Any]:
    """Raises InvalidRequest, which tells the form, for what is no JSON object, or is longer than anybody needs."""
    _bound(key, text)
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{form}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequest(form)
    return found
