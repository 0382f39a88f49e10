"""Policies of the families that public suites have (kubernetes e2e, cyclonus), over namespaces x, y, z and pods a, b, c."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from tests.policies.oracle import Manifest


@dataclass(frozen=True)
class Case:
    """Policies that are there at the same time."""

    name: str
    policies: tuple[Manifest, ...]


def policy(name: str = "base", namespace: str = "x", **spec: Any) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "uid": name},
        "spec": {"podSelector": {}, **spec},
    }


def of(direction: str, name: str, rules: list[Manifest], **more: Any) -> Manifest:
    """One that says something of one direction."""
    spec: dict[str, Any] = {"policyTypes": [direction], direction.lower(): rules, **more}
    return policy(name, **spec)


def expression(key: str, operator: str, *values: str) -> Manifest:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


SELECTORS: Mapping[str, tuple[Any, Any]] = {
    "nothing": (None, None),
    "all": ({}, {}),
    "label": ({"matchLabels": {"ns": "x"}}, {"matchLabels": {"pod": "a"}}),
    "in": (expression("ns", "In", "x", "y"), expression("pod", "In", "a", "b")),
    "not in": (expression("ns", "NotIn", "x"), expression("pod", "NotIn", "a")),
    "exists": (expression("ns", "Exists"), expression("pod", "Exists")),
    "does not exist": (expression("ns", "DoesNotExist"), expression("odd", "DoesNotExist")),
    "two": (
        {"matchLabels": {"ns": "y"}, **expression("team", "In", "red", "blue")},
        {"matchLabels": {"pod": "b"}, **expression("odd", "DoesNotExist")},
    ),
}
BLOCKS: Mapping[str, list[Manifest]] = {
    "one address": [{"cidr": "10.10.0.11/32"}],
    "one address of IPv6": [{"cidr": "fd00:10::b/128"}],
    "a network": [{"cidr": "10.10.0.8/29"}],
    "a network without a part": [{"cidr": "10.10.0.0/24", "except": ["10.10.0.8/30", "10.10.0.16/32"]}],
    "what is left out of one and in another": [
        {"cidr": "10.10.0.0/24", "except": ["10.10.0.8/29"]},
        {"cidr": "10.10.0.12/32"},
    ],
    "everything of IPv4": [{"cidr": "0.0.0.0/0"}],
    "everything of IPv6": [{"cidr": "::/0"}],
    "everything but a network": [{"cidr": "0.0.0.0/0", "except": ["10.10.0.0/28"]}, {"cidr": "::/0"}],
    "everything of IPv6 but a part": [{"cidr": "fd00:10::/64", "except": ["fd00:10::c/126"]}],
}
PORTS: Mapping[str, list[Manifest]] = {
    "one": [{"protocol": "TCP", "port": 80}],
    "the default protocol": [{"port": 81}],
    "a protocol": [{"protocol": "UDP"}],
    "SCTP": [{"protocol": "SCTP", "port": 80}],
    "two": [{"protocol": "TCP", "port": 80}, {"protocol": "UDP", "port": 81}],
    "a range": [{"protocol": "TCP", "port": 79, "endPort": 80}],
    "a range of UDP": [{"protocol": "UDP", "port": 80, "endPort": 65535}],
    "a name": [{"protocol": "TCP", "port": "serve"}],
    "a name of UDP": [{"protocol": "UDP", "port": "serve"}],
    "a name and a number": [{"protocol": "TCP", "port": "serve"}, {"protocol": "SCTP", "port": 81}],
    "a name that nobody has": [{"protocol": "TCP", "port": "nobody"}],
}


def directed(name: str, rule: Mapping[str, Any], peers: list[Manifest] | None = None) -> Iterator[Case]:
    """Of NICs of a namespace, in each direction."""
    for direction, side in (("Ingress", "from"), ("Egress", "to")):
        whole = {**rule, **({side: peers} if peers is not None else {})}
        yield Case(f"{direction}: {name}", (of(direction, "base", [whole]),))


def peers() -> Iterator[Case]:
    for (spaces, (namespaces, _)), (pods, (_, selector)) in product(SELECTORS.items(), SELECTORS.items()):
        peer = {
            **({"namespaceSelector": namespaces} if namespaces is not None else {}),
            **({"podSelector": selector} if selector is not None else {}),
        }
        if peer:
            yield from directed(f"namespaces by {spaces}, pods by {pods}", {}, [peer])
    for name, blocks in BLOCKS.items():
        yield from directed(name, {}, [{"ipBlock": block} for block in blocks])
    yield from directed("everybody", {})
    yield from directed("an empty list", {}, [])
    yield from directed(
        "a network and pods",
        {},
        [{"ipBlock": {"cidr": "10.10.0.12/32"}}, {"podSelector": {"matchLabels": {"pod": "b"}}}],
    )


def ports() -> Iterator[Case]:
    reach: Mapping[str, list[Manifest] | None] = {
        "everybody": None,
        "pods": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}, {"podSelector": {"matchLabels": {"pod": "c"}}}],
        "a network": [{"ipBlock": {"cidr": "10.10.0.8/29"}}],
    }
    for (name, listed), (whom, some) in product(PORTS.items(), reach.items()):
        yield from directed(f"{name}, {whom}", {"ports": listed}, some)


def targets() -> Iterator[Case]:
    for name, (_, selector) in SELECTORS.items():
        if selector is not None:
            yield Case(f"target by {name}, ingress", (policy(podSelector=selector, policyTypes=["Ingress"]),))
            yield Case(f"target by {name}, egress", (policy(podSelector=selector, policyTypes=["Egress"]),))
    yield Case("another namespace's", (policy(namespace="y"),))
    yield Case("a namespace without pods", (policy(namespace="empty"),))
    yield Case("every namespace's", tuple(policy(namespace=namespace) for namespace in "xyz"))


def directions() -> Iterator[Case]:
    yield Case("none", ())
    yield Case("neither", (policy(policyTypes=["Ingress", "Egress"]),))
    yield Case("types by what there is", (policy(egress=[{"to": [{"podSelector": {}}]}]),))
    yield Case("rules of a direction that is not among the types", (policy(policyTypes=["Ingress"], egress=[{}]),))
    yield Case("everything, both ways", (policy(policyTypes=["Ingress", "Egress"], ingress=[{}], egress=[{}]),))


def together() -> Iterator[Case]:
    deny = {way: policy(f"deny-{way}", policyTypes=[way]) for way in ("Ingress", "Egress")}
    for way, side in (("Ingress", "from"), ("Egress", "to")):
        rule = {side: [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}], "ports": [{"port": 80}]}
        allow = of(way, "allow", [rule], podSelector={"matchLabels": {"pod": "a"}})
        every = of(way, "every", [{}])
        yield Case(f"{way}: a denial and what passes", (deny[way], allow))
        yield Case(f"{way}: a denial and everything", (deny[way], every))
        yield Case(f"{way}: some and everything", (allow, every))
        more = {**rule, "ports": [{"protocol": "UDP", "port": 81}]}
        further = of(way, "further", [more])
        yield Case(f"{way}: two that let in different ports", (allow, further))
        yield Case(f"{way}: two rules", (of(way, "base", [rule, more]),))
    yield Case("both ends", (deny["Egress"], policy("other", "y", ingress=[{}])))
    to_y = [{"to": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]}]
    from_x = [{"from": [{"namespaceSelector": {"matchLabels": {"ns": "x"}}}]}]
    yield Case(
        "each end lets it pass", (policy(policyTypes=["Egress"], egress=to_y), policy("in", "y", ingress=from_x))
    )
    yield Case("one end does not", (policy(policyTypes=["Egress"], egress=to_y), policy("in", "y", ingress=[])))


FAMILIES: Mapping[str, tuple[Case, ...]] = {
    family.__name__: tuple(family()) for family in (directions, targets, together, ports, peers)
}
