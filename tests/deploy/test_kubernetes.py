"""The Kubernetes manifests: what their schemas say, and that they fit each other and the image."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # as yaml
import pytest
import yaml  # type: ignore[import-untyped]  # has no types of its own

from pytest_aistorage import get_storage_config, open_storage
from pytest_aistorage.config import StorageURL
from pytest_aistorage.service import create_app

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in (DEPLOY / "kubernetes").glob("*.yaml")
    if path.stem != "kustomization"
}
VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""Of Kubernetes: the oldest one that is meant, and the newest one whose schemas are at hand."""

POD = MANIFESTS["deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_a_manifest_is_what_its_schema_says(name: str, version: str) -> None:
    """Strictly: a field that Kubernetes does not know is one that it would drop."""
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def _spell(container: dict[str, Any]) -> None:
    container["livenessProbes"] = container.pop("livenessProbe")


def _quote(container: dict[str, Any]) -> None:
    container["ports"][0]["containerPort"] = "8000"


def _forget(container: dict[str, Any]) -> None:
    del container["name"]


def _misplace(container: dict[str, Any]) -> None:
    container["securityContext"]["fsGroup"] = 10001


@pytest.mark.parametrize("mistake", [_spell, _quote, _forget, _misplace])
def test_a_mistake_is_found(mistake: Callable[[dict[str, Any]], None]) -> None:
    """A field that is misspelt, of another type, missing, or in another place: the test above can fail."""
    wrong = copy.deepcopy(MANIFESTS["deployment"])
    mistake(wrong["spec"]["template"]["spec"]["containers"][0])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_all_of_them_are_applied() -> None:
    """``kubectl apply -k`` takes what the kustomization lists."""
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(f"{name}.yaml" for name in MANIFESTS)


def test_service_and_budget_find_the_pods() -> None:
    """By labels that the pods have; and a budget that leaves no pod to spare would stop every drain."""
    labels = POD["metadata"]["labels"].items()
    deployment, budget = MANIFESTS["deployment"]["spec"], MANIFESTS["poddisruptionbudget"]["spec"]
    assert deployment["replicas"] == 3
    assert 0 < budget["minAvailable"] < deployment["replicas"]
    (spread,) = POD["spec"]["topologySpreadConstraints"]
    for selector in (
        deployment["selector"]["matchLabels"],
        budget["selector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
        MANIFESTS["service"]["spec"]["selector"],
    ):
        assert selector
        assert selector.items() <= labels


def test_each_probe_asks_what_the_application_answers() -> None:
    """Liveness never depends on the storage: a restart of every pod would not bring a database back."""
    with open_storage("memory://") as storage:
        paths = {route.path for route in create_app(storage).routes}  # type: ignore[attr-defined]  # all are Routes
    asked = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startup": "/health/live",
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }
    assert {probe["path"] for probe in asked.values()} | {
        POD["metadata"]["annotations"]["prometheus.io/path"]
    } <= paths
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert {probe["port"] for probe in asked.values()} == {
        MANIFESTS["service"]["spec"]["ports"][0]["targetPort"]
    }
    assert set(ports) == {"http"}
    assert str(ports["http"]) == POD["metadata"]["annotations"]["prometheus.io/port"]


def test_a_pod_serves_until_nobody_sends_it_requests() -> None:
    """SIGTERM closes the port at once, while the nodes still learn that the pod is ending."""
    wait = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < wait < POD["spec"]["terminationGracePeriodSeconds"] / 2


def test_the_passwords_are_files_of_the_secret() -> None:
    """Nothing else says them; each provider names a file that is mounted, as a whole, so that a change arrives."""
    settings = MANIFESTS["configmap"]["data"]
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": MANIFESTS["configmap"]["metadata"]["name"]}}]
    assert get_storage_config(settings).type == "hybrid"
    (volume,) = [volume for volume in POD["spec"]["volumes"] if "secret" in volume]
    (mount,) = [mount for mount in CONTAINER["volumeMounts"] if mount["name"] == volume["name"]]
    assert "subPath" not in mount
    files = {f"file:{mount['mountPath']}/{item['path']}" for item in volume["secret"]["items"]}
    urls = [StorageURL.parse(settings[name]) for name in ("DATABASE_URL", "REDIS_URL")]
    assert {url.query["password_provider"] for url in urls} == files
    assert all(url.password is None for url in urls)


def test_a_pod_may_do_nothing_that_it_need_not() -> None:
    """What the Pod Security Standard "restricted" wants, and a file system that can't be written."""
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert CONTAINER["resources"]["limits"]["memory"]


def test_the_image_is_the_one_that_the_pods_expect() -> None:
    """User and port are the Dockerfile's."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    user = re.search(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    port = re.search(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)
    assert user
    assert port
    pod = POD["spec"]["securityContext"]
    assert (int(user[1]), int(user[2])) == (pod["runAsUser"], pod["runAsGroup"])
    assert int(port[1]) == CONTAINER["ports"][0]["containerPort"]
