"""The sidecar as its image starts it, and as virt-launcher uses it."""

import asyncio
import json
import signal
from pathlib import Path

import grpc
import pytest
from grpc import aio

from tests.binding.pod import INFO, Pod
from tests.binding.samples import BLUE, DOMAIN, bound, vmi
from virtnet.binding.rewrite import rewrite
from virtnet.binding.server import SidecarSettings, filled
from virtnet.lab.standin.hook_sidecars import CALL_SECONDS, NEWEST_FIRST, call

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("known", "version"),
    [
        pytest.param(NEWEST_FIRST, "v1alpha3", id="of today"),
        pytest.param(NEWEST_FIRST[1:], "v1alpha2", id="before v1alpha3"),
    ],
)
async def test_a_launcher_finds_it_and_its_domain_is_rewritten(pod: Pod, known: tuple[str, ...], version: str) -> None:
    pod.start()
    sidecar = await pod.sidecar(known=known)
    assert (sidecar.name, sidecar.version, sidecar.hook_points) == (
        "virtnet-vhostuser",
        version,
        ("OnDefineDomain", "Shutdown"),
    )
    once = await sidecar.on_define_domain(DOMAIN, vmi(bound()))
    assert once == rewrite(DOMAIN, [BLUE])
    assert await sidecar.on_define_domain(once, vmi(bound())) == once


async def test_only_its_socket_is_in_the_directory(pod: Pod) -> None:
    """virt-launcher asks whatever is there."""
    pod.start()
    sidecar = await pod.sidecar()
    await sidecar.on_define_domain(DOMAIN, vmi(bound()))
    assert list(pod.sockets.iterdir()) == [sidecar.socket]


async def test_the_end_of_the_vm_ends_it(pod: Pod) -> None:
    pod.start()
    await (await pod.sidecar()).shutdown()
    assert await pod.ended() == 0
    assert list(pod.sockets.iterdir()) == []


async def test_being_told_to_end_ends_it(pod: Pod) -> None:
    process = pod.start()
    await pod.sidecar()
    process.send_signal(signal.SIGTERM)
    assert await pod.ended() == 0
    assert list(pod.sockets.iterdir()) == []


async def test_one_that_was_killed_begins_anew_in_its_place(pod: Pod) -> None:
    process = pod.start()
    left = (await pod.sidecar()).socket
    process.kill()
    await pod.ended()
    assert left.exists()
    pod.start()
    assert await (await pod.sidecar()).on_define_domain(DOMAIN, vmi(bound()))


async def test_what_it_cannot_serve_is_said_in_one_line(pod: Pod) -> None:
    """virt-launcher's error becomes the reason of the VMI's condition Synchronized."""
    pod.start()
    sidecar = await pod.sidecar()
    with pytest.raises(aio.AioRpcError) as caught:
        await sidecar.on_define_domain(DOMAIN, vmi(bound(model="e1000")))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (
        caught.value.details()
        == "virtnet-vhostuser: VMI: interface blue: model e1000: vhost-user NICs are virtio; remove the model"
    )
    assert await sidecar.on_define_domain(DOMAIN, vmi(bound())) == rewrite(DOMAIN, [BLUE])


async def test_bytes_that_are_no_message_are_refused(pod: Pod) -> None:
    pod.start()
    sidecar = await pod.sidecar()
    with pytest.raises(aio.AioRpcError, match="cut off"):
        await call(
            sidecar.socket, "/kubevirt.hooks.v1alpha3.Callbacks/OnDefineDomain", b"\x0a\x05abc", bytes, CALL_SECONDS
        )


async def test_it_waits_for_kubelet(pod: Pod) -> None:
    """The file is empty until KubeVirt has annotated the pod and kubelet has looked."""
    pod.network_info.write_text("")
    pod.start()
    asked = asyncio.create_task((await pod.sidecar()).on_define_domain(DOMAIN, vmi(bound())))
    await asyncio.wait([asked], timeout=0.5)
    assert not asked.done()
    pod.network_info.write_text(json.dumps(INFO))
    assert await asked == rewrite(DOMAIN, [BLUE])


async def test_it_does_not_wait_for_ever(tmp_path: Path) -> None:
    (tmp_path / "network-info").touch()
    assert await filled(tmp_path / "network-info", 0.2) == {}
    assert SidecarSettings().patience < 60


async def test_a_plugin_that_is_registered_without_network_info_says_so(pod: Pod) -> None:
    pod.network_info.unlink()
    pod.start()
    with pytest.raises(aio.AioRpcError, match="register the plugin with downwardAPI: device-info"):
        await (await pod.sidecar()).on_define_domain(DOMAIN, vmi(bound()))
