"""The manifests that are checked in are those that the code means."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.granted import granted
from virtnet.features import FEATURES
from virtnet.kube import kinds
from virtnet.kube.kinds import Kind
from virtnet.kube.watched import BY_WEBHOOK
from webhooks import manifests, paths

DIRECTORY = Path(__file__).parents[2] / "manifests" / "webhook"


def documents(name: str) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all((DIRECTORY / name).read_text())


def webhooks() -> list[dict[str, Any]]:
    return [webhook for configuration in manifests.configurations() for webhook in configuration["webhooks"]]


@pytest.mark.parametrize("path", manifests.files())
def test_what_is_generated_is_up_to_date(path: str) -> None:
    assert (DIRECTORY.parent / path).read_text() == manifests.files()[path], "run: make generate"


def verbs(account: str, kind: Kind) -> set[str]:
    return {right.verb for right in granted() if (right.account, right.resource) == (account, str(kind))}


def test_the_webhook_may_watch_what_its_checks_read() -> None:
    for one in BY_WEBHOOK:
        assert verbs("virtnet-webhook", one.kind) >= {"list", "watch"}, one.kind


def test_the_controller_may_keep_what_has_users() -> None:
    for feature in FEATURES:
        if feature.in_use is not None:
            assert "patch" in verbs("virtnet-controller", kinds.of(feature.model)), feature.kind


def test_the_pod_network_overlay_asks_about_what_the_code_means() -> None:
    overlay = yaml.safe_load((DIRECTORY.parent / "pod-network" / "kustomization.yaml").read_text())
    patched = manifests.configurations()[0]
    (patch,) = [one["patch"] for one in overlay["patches"] if one["target"].get("kind") == patched["kind"]]
    for change in yaml.safe_load(patch):
        _, _, webhook, conditions, condition, expression = change["path"].split("/")
        patched["webhooks"][int(webhook)][conditions][int(condition)][expression] = change["value"]
    assert patched == manifests.configurations(pod_network=True)[0]


def test_every_path_is_configured_once() -> None:
    served = [webhook["clientConfig"]["service"]["path"].removeprefix("/") for webhook in webhooks()]
    assert sorted(served) == sorted(paths.ALL)


@pytest.mark.parametrize("webhook", [pytest.param(webhook, id=webhook["name"]) for webhook in webhooks()])
def test_it_fails_closed_and_soon(webhook: dict[str, Any]) -> None:
    only_warns = webhook["name"].startswith(paths.TELL_NAD_USERS.path)
    assert webhook["failurePolicy"] == ("Ignore" if only_warns else "Fail")
    assert webhook["timeoutSeconds"] == 10
    assert webhook["matchConditions"]
    assert webhook["sideEffects"] in ("None", "NoneOnDryRun")


def test_a_url_and_an_authority_of_ones_own() -> None:
    made = list(manifests.configurations(url="https://172.31.0.1:9443", ca_bundle=b"PEM"))
    assert [one["kind"] for one in made] == ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
    for configuration in made:
        assert "annotations" not in configuration["metadata"]
        assert configuration["webhooks"]
        for webhook in configuration["webhooks"]:
            assert webhook["clientConfig"]["url"].startswith("https://172.31.0.1:9443/")
            assert webhook["clientConfig"]["caBundle"] == "UEVN"


def test_the_parts_of_the_deployment_find_each_other() -> None:
    (deployment,), (service,), (budget,) = (
        list(documents(name)) for name in ("deployment.yaml", "service.yaml", "disruption-budget.yaml")
    )
    _, certificate = documents("certificate.yaml")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert service["metadata"]["name"] == manifests.SERVICE["name"]
    assert service["spec"]["ports"][0]["port"] == manifests.SERVICE["port"]
    where = "{name}.{namespace}.svc".format(**manifests.SERVICE)
    assert where in certificate["spec"]["dnsNames"]
    assert pod["spec"]["volumes"][0]["secret"]["secretName"] == certificate["spec"]["secretName"]
    for configuration in manifests.configurations():
        injected = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
        assert injected == f"{manifests.SERVICE['namespace']}/{certificate['metadata']['name']}"


def test_the_kustomization_names_every_file() -> None:
    (kustomization,) = documents("kustomization.yaml")
    assert {*kustomization["resources"], "kustomization.yaml"} == {path.name for path in DIRECTORY.iterdir()}
