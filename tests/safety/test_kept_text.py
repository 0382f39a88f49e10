"""A tenant writes long text again and again, into every part of its objects that is read: none of it is kept."""

import gc
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.pinning.inputs import asking, instance, pod, vm
from virtnet.api import SubnetRef
from virtnet.api.lease import lease_name
from virtnet.api.multus import NETWORK_STATUS
from virtnet.api.names import ATTACHMENTS
from virtnet.api.qos_policy import QOS
from virtnet.api.security_group import SECURITY_GROUPS
from virtnet.features.workloads import Pod, Vm, instance_of

LENGTH, TIMES = 100_000, 100
BLUE = SubnetRef(kind="Subnet", namespace="demo", name="blue")

Body = dict[str, Any]


def stored(body: Body) -> Body:
    body["metadata"] |= {"namespace": "demo", "uid": "u", "resourceVersion": "5"}
    return body


def labelled(text: str) -> None:
    body = vm()
    body["spec"]["template"]["metadata"]["labels"] = {"app": text}
    Vm.of(stored(body))


def in_place_of_the_pod_network(text: str) -> None:
    body = vm(networks=((text, "blue-net"),))
    body["spec"]["template"]["spec"]["networks"] = [{"name": text, "pod": {}}]
    Vm.of(stored(body))


def naming(text: str) -> None:
    annotations = {QOS: json.dumps({"blue": text}), SECURITY_GROUPS: json.dumps({"blue": [text]})}
    Vm.of(stored(vm(networks=((text, text),), annotations=annotations)))


def asking_for(text: str) -> None:
    Vm.of(stored(asking(text)))
    lease_name(text, BLUE)
    lease_name(f"fd00:{text}", BLUE)


def said_by_a_guest(text: str) -> None:
    interface = {"name": "blue", "ipAddress": text, "ipAddresses": [text, f"fd00::{text}"]}
    status = {"phase": "Running", "nodeName": text, "interfaces": [interface]}
    instance_of({**stored(instance()), "status": status})


def marked(text: str) -> None:
    body = pod(text)
    body["metadata"]["annotations"] |= {ATTACHMENTS: text, NETWORK_STATUS: text}
    body["metadata"]["labels"] = {"app": text}
    Pod.of(stored(body))


@pytest.mark.parametrize("write", [labelled, in_place_of_the_pod_network, naming, asking_for, said_by_a_guest, marked])
def test_none_of_it_is_kept(write: Callable[[str], None]) -> None:
    write("7" * LENGTH)  # what is made once
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(TIMES):
            write(f"{number}".zfill(LENGTH))
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * LENGTH
