"""More pods at once than there are virtual functions: each of these is one pod's, and afterwards as it was."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.hardware.igb import Igb
from tests.hardware.vf_node import VFS, VfNode, knobs, links, states

PODS = 64
UNANSWERED = "the kubelet does not tell which devices pods have"
"""In time: the runtime asks again."""


def test_many_adds_and_dels_at_once(node: VfNode, nic: Igb) -> None:
    before = states(nic)
    numbers = {f"p{number}": number % VFS for number in range(PODS)}
    macs = {pod: f"02:76:6e:00:01:{number:02x}" for number, pod in enumerate(numbers)}
    places = {pod: node.sandbox() for pod in numbers}
    for pod, number in numbers.items():
        node.vf_pod(pod, nic.vf(number), vlan=100, mac=macs[pod])

    def ask(command: str, pod: str) -> tuple[int, Any]:
        while True:
            code, answer = node.vf(command, pod, nic.vf(numbers[pod]), netns=places[pod])
            if code == 0 or not answer["msg"].startswith(UNANSWERED):
                return code, answer

    with ThreadPoolExecutor(PODS) as pool:
        added = dict(zip(numbers, pool.map(lambda pod: ask("ADD", pod), numbers), strict=True))
        holders = {numbers[pod]: pod for pod, (code, _) in added.items() if code == 0}
        assert sorted(holders) == list(range(VFS)), added
        for pod, (code, answer) in added.items():
            device, holder = nic.vf(numbers[pod]), holders[numbers[pod]]
            says = f"device {device} belongs to interface pod1 of pod demo/{holder}, which runs on this node"
            assert pod == holder if code == 0 else answer["msg"] == says
        for number, pod in holders.items():
            assert links(places[pod])[nic.vf(number)]["address"] == macs[pod]
            assert knobs(nic)[number]["address"] == macs[pod]
        assert set(pool.map(lambda pod: ask("DEL", pod)[0], numbers)) == {0}
    assert node.journal() == []
    assert states(nic) == before
