"""The Compose file: from nothing to healthy, watched, and with its data after ``down`` and ``up``.

The tests are one journey over one project, in their order.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator

import pytest
from compose_project import PATIENCE, ComposeProject

SAVE = """
from pytest_aistorage import AIProgress, get_ai_storage
storage = get_ai_storage()
saved = storage.save_progress(AIProgress(model_name="resnet", mse=0.125, metadata={"epochs": 3}))
assert storage.get_progress("resnet") == saved and storage.degraded is None
print(saved.version)
"""
READ = """
from pytest_aistorage import get_ai_storage
read = get_ai_storage().get_progress("resnet")
print(read.version, read.mse, read.metadata["epochs"])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeProject]:
    """The services, built from the repository as it is, started and healthy."""
    started = ComposeProject(tmp_path_factory.mktemp("secrets"))
    try:
        started.run("build")
        started.up()
        yield started
    finally:
        started.remove()


def _got(project: ComposeProject, path: str) -> tuple[int, str]:
    line = http.client.HTTPConnection(*project.address(), timeout=PATIENCE)
    line.request("GET", path)
    answer = line.getresponse()
    body = answer.read().decode()
    line.close()
    return answer.status, body


def test_from_nothing_to_healthy(project: ComposeProject) -> None:
    """The guide's endpoint answers 200, for a hybrid that has both its servers."""
    status, body = _got(project, "/health/ai-storage")
    said = json.loads(body)
    assert (status, said["healthy"], said["storage_type"], said["degraded"]) == (200, True, "hybrid", False)
    assert _got(project, "/health/live")[0] == 200


def test_what_was_written_is_there_after_down_and_up(project: ComposeProject) -> None:
    """The containers are others, the volumes are the same; the health page counts what is in them."""
    assert project.in_app(SAVE) == "1"
    before = project.inspected("postgres")["Id"]
    project.run("down")
    project.up()
    assert project.inspected("postgres")["Id"] != before
    assert project.in_app(READ) == "1 0.125 3"
    assert json.loads(_got(project, "/health/ai-storage")[1])["model_count"] == 1


def test_metrics_are_scraped(project: ComposeProject) -> None:
    """As Prometheus reads them, and true: one model, a storage that answers, a cache that is in use."""
    from prometheus_client.parser import text_string_to_metric_families

    status, page = _got(project, "/metrics")
    assert status == 200
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if family.type == "gauge" and sample.name.startswith("ai_storage")
    }
    assert found["ai_storage_healthy"] == 1
    assert found["ai_storage_degraded"] == 0
    assert found["ai_storage_models"] == 1


def test_a_password_is_rotated_without_a_restart(project: ComposeProject) -> None:
    """The service goes on: its sessions have ended, and each new one reads the file anew."""
    before = project.state("app")["StartedAt"]
    project.rotate_database_password()
    end = time.monotonic() + PATIENCE
    while _got(project, "/health/ai-storage")[0] != 200:  # of a session that came in between
        assert time.monotonic() < end
        time.sleep(0.2)
    assert project.in_app(READ) == "1 0.125 3"
    assert project.state("app")["StartedAt"] == before


def test_the_application_may_do_nothing_that_it_need_not(project: ComposeProject) -> None:
    """Not root, no capability, no file that it could change but those of a temporary directory."""
    host = project.inspected("app")["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert project.in_app("import os; print(os.getuid(), os.getgid())") == "10001 10001"


def test_no_password_can_be_seen_from_outside(project: ComposeProject) -> None:
    """Neither in what the engine shows of the containers, arguments and variables, nor in what they log."""
    shown = json.dumps([project.inspected(service) for service in ("app", "redis")]) + project.run("logs")
    assert "DATABASE_URL=postgresql://imf@postgres" in shown
    for password in project.passwords.values():
        assert password not in shown


def test_an_image_is_healthy_by_itself(project: ComposeProject) -> None:
    """Without Compose's own check: the image says whether its process serves, which needs no storage."""
    check = json.loads(project.docker("image", "inspect", project.name))[0]["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    project.run("kill", "postgres")
    assert _got(project, "/health/ai-storage")[0] == 500
    project.exec_in_app(*check[1:])
