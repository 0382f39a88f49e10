"""The manifests that are checked in are those that the code means."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhooks import manifests, paths

FOLDER = Path(__file__).parents[2] / "manifests" / "webhook"


def documents(name: str) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all((FOLDER / name).read_text())


def webhooks() -> list[dict[str, Any]]:
    return [webhook for configuration in manifests.configurations() for webhook in configuration["webhooks"]]


def test_the_configurations_are_as_generated() -> None:
    assert (FOLDER / "configurations.yaml").read_text() == manifests.content(), (
        "run: python -m webhooks.manifests manifests/webhook"
    )


def test_the_pod_network_overlay_asks_about_what_the_code_means() -> None:
    overlay = yaml.safe_load((FOLDER.parent / "pod-network" / "kustomization.yaml").read_text())
    patched = manifests.configurations()[0]
    (patch,) = [one["patch"] for one in overlay["patches"] if one["target"]["kind"] == patched["kind"]]
    for change in yaml.safe_load(patch):
        _, _, webhook, conditions, condition, expression = change["path"].split("/")
        patched["webhooks"][int(webhook)][conditions][int(condition)][expression] = change["value"]
    assert patched == manifests.configurations(pod_network=True)[0]


def test_every_path_is_configured_once() -> None:
    asked = [webhook["clientConfig"]["service"]["path"].removeprefix("/") for webhook in webhooks()]
    assert sorted(asked) == sorted(paths.ALL)


@pytest.mark.parametrize("webhook", [pytest.param(webhook, id=webhook["name"]) for webhook in webhooks()])
def test_it_fails_closed_and_soon(webhook: dict[str, Any]) -> None:
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["timeoutSeconds"] == 5
    assert webhook["matchConditions"]
    assert webhook["sideEffects"] in ("None", "NoneOnDryRun")


def test_a_url_and_an_authority_of_ones_own() -> None:
    for configuration in manifests.configurations(url="https://172.31.0.1:9443", ca_bundle=b"PEM"):
        assert "annotations" not in configuration["metadata"]
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
    assert {*kustomization["resources"], "kustomization.yaml"} == {path.name for path in FOLDER.iterdir()}
