"""Names of Ports: an object's name for every name that KubeVirt, Multus and Kubernetes take, and never one twice."""

from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from virtnet.api.grammar import NETWORK_NAME
from virtnet.api.names import is_interface, is_name, port_name


class NicName(NamedTuple):
    """What a Port is named after."""

    owner: str
    network: str
    pod: bool = False

    @property
    def port(self) -> str:
        return port_name(self.owner, self.network, pod=self.pod)


labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
owners = st.one_of(
    st.lists(labels, min_size=1, max_size=3).map(".".join),
    st.integers(240, 253).map(lambda length: "v" * length),
)
"""As Kubernetes takes them."""

networks = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    st.sampled_from(["_", "-", "__blue__", "-blue-", "Blue", "blue", "n" * 63, "net1-pod-76f04770ef"]),
)
"""As KubeVirt takes them."""

interfaces = st.text(st.characters(codec="utf-8"), min_size=1, max_size=15).filter(is_interface)
"""As the kernel takes them, and with it Multus."""

nics = st.one_of(
    st.builds(NicName, owners, networks), st.builds(NicName, owners, interfaces, pod=st.sampled_from([True]))
)


@given(nics)
@example(NicName("under", "_blue"))
@example(NicName("v" * 253, "_"))
@example(NicName("db", "ü@.ß", pod=True))
def test_every_port_has_an_objects_name(nic: NicName) -> None:
    assert NETWORK_NAME.permits(nic.network)
    assert is_name(nic.port)
    assert len(nic.port) <= 253


def imitations(nic: NicName) -> list[NicName]:
    """Other NICs whose owner and network make up the same text, or that are called as its Port is."""
    owner, _, rest = nic.port.partition(".")
    texts = {nic.port, f"{nic.owner}.{nic.network}", f"{nic.owner}.{nic.network}@pod"}
    split = [NicName(text[:n], text[n + 1 :], pod) for text in texts for n, one in enumerate(text) if one == "."
             for pod in (True, False)]  # fmt: skip
    return [NicName(owner, rest), NicName(nic.owner, nic.port), *split]


@given(nics, nics)
def test_no_two_share_a_port(one: NicName, other: NicName) -> None:
    others = {other, *imitations(one)} - {one}
    assert one.port not in {found.port for found in others if found.owner and found.network}


@pytest.mark.parametrize(
    ("nic", "port"),
    [
        (NicName("db", "blue"), "db.blue"),
        (NicName("a.b", "c"), "a.b.c"),
        (NicName("db", "Red_1"), "db.red-1-1563787fbe"),
        (NicName("peer", "net1", pod=True), "peer.net1-pod-76f04770ef"),
    ],
)
def test_these_names_stay(nic: NicName, port: str) -> None:
    """There are Ports of these names, with addresses."""
    assert nic.port == port
