"""The server itself: what it refuses to answer, when it is ready, and how it ends."""

import asyncio
import json
import os
import signal
from typing import Any

import aiohttp
import pytest
from kopf import AdmissionError

from tests.pinning.conftest import Admission, Replica, Tenant, pinned, replica
from tests.pinning.inputs import vm
from virtnet.kube.kinds import VMS
from virtnet.lab.certificates import Authority
from webhooks import paths
from webhooks.admission import decided

VM = {"group": "kubevirt.io", "version": "v1", "resource": "virtualmachines"}
POD = {"group": "", "version": "v1", "resource": "pods"}


def review(resource: dict[str, str], operation: str = "CREATE", **more: Any) -> dict[str, Any]:
    body = {"metadata": {"name": "x", "namespace": "demo"}, "spec": {"template": {"spec": {}}}}
    return {
        "request": {"uid": "7", "resource": resource, "operation": operation, "object": body, "userInfo": {}, **more}
    }


@pytest.mark.parametrize(
    ("path", "review", "allowed"),
    [
        pytest.param("pin-vm", review(VM), True, id="the right path"),
        pytest.param(
            "mark-pod", review(POD, "UPDATE", subResource="status", oldObject={"metadata": {}}), True, id="subresource"
        ),
        pytest.param("nosuch", review(VM), False, id="unknown path"),
        pytest.param("", review(VM), False, id="no path"),
        pytest.param("pin-vm/x", review(VM), False, id="longer path"),
        pytest.param("mark-pod", review(VM), False, id="another kind's path"),
        pytest.param("pin-vm", review({**VM, "version": "v2"}), False, id="another version"),
        pytest.param("pin-vm", review(VM, "DELETE"), False, id="another operation"),
        pytest.param("pin-vm", review(VM, "UPDATE", subResource="scale"), False, id="another subresource"),
    ],
)
async def test_only_what_a_handler_decides_is_allowed(
    admission: Admission, path: str, review: dict[str, Any], allowed: bool
) -> None:
    status, answer = await admission.replicas["a"].post(path, review)
    assert status == 200
    assert answer["response"]["uid"] == "7"
    assert answer["response"]["allowed"] is allowed
    if not allowed:
        assert answer["response"]["status"]["message"] == (
            f"virtnet has no webhook for {review['request']['operation']} of {review['request']['resource']['resource']} "
            f"at /{path}; bring its webhook configurations to the version that runs"
        )


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b"{}", id="no request"),
        pytest.param(b'{"request": {}}', id="no uid"),
        pytest.param(b"[" * 100_000, id="endless depth"),
    ],
)
async def test_what_is_no_review_gets_an_error(admission: Admission, sent: bytes) -> None:
    status, _ = await admission.replicas["a"].post("pin-vm", sent)
    assert status == 400
    assert await admission.replicas["a"].ready()


async def test_a_failure_of_ours_is_a_refusal() -> None:
    async def failing() -> None:
        raise RuntimeError("nobody thought of this")

    with pytest.raises(
        AdmissionError, match="virtnet failed to decide; the log of virtnet-webhook says why"
    ) as refused:
        await decided(paths.PIN_VM, review(VM)["request"]["object"], failing)
    assert refused.value.code == 500


async def test_what_is_of_a_wrong_type_is_refused_by_its_name(admission: Admission) -> None:
    broken = review(VM)
    broken["request"]["object"]["spec"]["template"]["spec"]["networks"] = 7
    _, answer = await admission.replicas["a"].post("pin-vm", broken)
    assert not answer["response"]["allowed"]
    assert answer["response"]["status"] == {
        "code": 422,
        "message": "spec.template.spec.networks must be a list and is 7; write a list there, or nothing",
    }


async def test_large_objects_pass(tenant: Tenant) -> None:
    manifest = vm()
    manifest["spec"]["template"]["spec"]["volumes"] = [
        {"name": "init", "cloudInitNoCloud": {"userData": "x" * 900_000}}
    ]
    made = await tenant.create(manifest)
    ask = {"metadata": {"annotations": {"virtnet.dev/addresses": '{"blue": ["10.0.0.9"]}'}}}
    assert pinned(await tenant.cluster.patch(VMS, "db", ask, tenant.namespace)) == {"blue": ("10.0.0.9",)}
    assert pinned(made)


async def test_every_decision_is_logged_and_measured(admission: Admission, tenant: Tenant) -> None:
    await tenant.create(vm("logged-b"))
    lines = admission.replicas["b"].daemon.log.read_text().splitlines()
    (line,) = [found for text in lines if (found := json.loads(text)).get("namespace") == tenant.namespace
               and found["webhook"] == "pin-vm"]  # fmt: skip
    assert (line["event"], line["name"], line["dry_run"]) == ("allowed", "logged-b", False)
    assert line["ms"] > 0


@pytest.fixture
def spare(admission: Admission, tmp_path: Any) -> Any:
    """A third replica that nobody asks, with a certificate of its own."""
    found = replica(admission.server, tmp_path, "spare")
    yield found
    found.daemon.stop()


async def test_it_ends_at_once_when_told_to(spare: Replica) -> None:
    await spare.start()
    pid = spare.daemon.pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(3):
        while True:
            if spare.daemon.pid is None:
                break
            await asyncio.sleep(0.01)
    assert json.loads(spare.daemon.log.read_text().splitlines()[-1])["event"] == "ended"


async def test_what_is_under_way_is_answered_before_the_end(spare: Replica, tenant: Tenant) -> None:
    await spare.start()
    pid = spare.daemon.pid
    assert pid is not None

    async def ask(n: int) -> bool | None:
        body = {**vm(f"vm{n}"), "metadata": {"name": f"vm{n}", "namespace": tenant.namespace}}
        try:
            _, answer = await spare.post("pin-vm", review(VM, object=body, dryRun=True))
        except aiohttp.ClientConnectorError:  # came too late
            return None
        allowed: bool = answer["response"]["allowed"]
        return allowed

    asking = [asyncio.create_task(ask(n)) for n in range(60)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    os.kill(pid, signal.SIGTERM)
    answers = await asyncio.gather(*asking)
    assert set(answers) <= {True, None}
    assert answers.count(True) > 1


async def test_a_renewed_certificate_is_served_without_a_pause(admission: Admission, tmp_path: Any) -> None:
    first, second = (Authority(tmp_path / name) for name in ("first", "second"))
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def serve(authority: Authority) -> None:
        pair = authority.server("webhook", ["127.0.0.1"])
        key.write_bytes(pair.key.read_bytes())
        certificate.write_bytes(pair.certificate.read_bytes())

    serve(first)
    options = ("--cert", str(certificate), "--key", str(key))
    old = replica(admission.server, tmp_path, "renewed", *options)
    old = Replica(old.daemon, old.port, first)
    try:
        await old.start()
        key.write_text("half of a key")
        serve(second)
        new = Replica(old.daemon, old.port, second)
        async with asyncio.timeout(30):
            while not await new.ready():
                assert await old.ready() or await new.ready()
                await asyncio.sleep(0.1)
        assert not await old.ready()
    finally:
        old.daemon.stop()
