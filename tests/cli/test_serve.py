"""``aistorage serve``: what it prints, what it answers, and how it ends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

PATIENCE = 120.0
"""Seconds after which something hangs, however busy the machine is."""


class Served:
    """A running ``aistorage serve``, and the lines that it has printed so far."""

    def __init__(self, process):
        self.process = process
        self.first = process.stderr.readline()
        self.url = re.search(r"http://\S+", self.first)[0]

    def get(self, path):
        """Ask for a path; return its status and body."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self, number):
        """Send a signal; return the exit status and the lines since the first."""
        self.process.send_signal(number)
        _, lines = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, lines


@pytest.fixture
def serve(aistorage, tmp_path):
    """Yields what starts the command on a free port, and ends it with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **environment):
            process = subprocess.Popen(
                aistorage.command("serve", "--port", "0", *arguments),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env={name: value for name, value in aistorage.env(**environment).items() if value},
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return Served(process)

        yield start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_serves_until_a_signal(serve, tmp_path, number):
    """All four paths, of the storage that the URL names; then it ends in order, and says why."""
    served = serve("sqlite:///training.db", "--timeout", str(PATIENCE))
    assert "INFO serving sqlite:///training.db on http://127.0.0.1:" in served.first
    status, body = served.get("/health/ai-storage")
    assert (status, json.loads(body)["storage_type"]) == (200, "database")
    assert served.get("/health/live")[0] == served.get("/health/ready")[0] == 200
    assert "ai_storage_operations_total{" in served.get("/metrics")[1]
    status, lines = served.end(number)
    assert status == 0
    assert [line.split(" ", 2)[2] for line in lines.splitlines()] == [
        "INFO database: healthy",
        f"INFO ended by {number.name}",
    ]


def test_environment_names_the_storage(serve):
    """Where no URL is given; none of its secrets is printed, though the server is not there."""
    served = serve(
        "--timeout",
        str(PATIENCE),
        AI_STORAGE_TYPE="hybrid",
        DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/imf",
        REDIS_URL="redis://:hunter3@127.0.0.1:1/0",
    )
    status, body = served.get("/health/ai-storage")
    assert (status, json.loads(body)["storage_type"]) == (500, "hybrid")
    status, lines = served.end(signal.SIGTERM)
    assert status == 0
    assert "ERROR hybrid: unhealthy: postgresql://user:***@127.0.0.1:1/imf" in lines
    assert "hunter" not in served.first + lines


COUNTED = """
import sys
from pytest_aistorage import AIProgress, open_storage
from pytest_aistorage.metrics import MetricsStorage

with MetricsStorage(open_storage(sys.argv[1])) as storage:
    for turn in range(7):
        storage.save_progress(AIProgress(model_name="resnet", mse=1.0))
"""


def test_counts_of_another_process(serve, aistorage, tmp_path):
    """An application that shares the directory of the counts is seen, also when it has ended."""
    directory = tmp_path / "counts"
    directory.mkdir()
    url = f"sqlite:///{tmp_path / 'training.db'}"
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    served = serve(url, "--timeout", str(PATIENCE), **shared)
    subprocess.run(
        [sys.executable, "-c", COUNTED, url], env=aistorage.env(**shared), timeout=PATIENCE, check=True
    )
    page = served.get("/metrics")[1]
    labels = 'operation="save",status="success",storage_type="database"'
    assert f"ai_storage_operations_total{{{labels}}} 7.0" in page
    assert 'ai_storage_models{storage_type="database"} 1.0' in page


def test_request_under_way_is_answered_before_the_end(serve):
    """A check that waits for a server that says nothing is over in its own time, and then the command ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0?timeout=600"
        served = serve(url, "--timeout", "1")
        request = pool.submit(served.get, "/health/ai-storage")
        silent.settimeout(PATIENCE)
        connection, _ = silent.accept()  # so the check has begun
        with connection:
            status, lines = served.end(signal.SIGTERM)
            assert request.result(PATIENCE)[0] == 500
    assert status == 0
    assert "ERROR redis: unhealthy: no answer within 1 s" in lines
    assert lines.endswith("INFO ended by SIGTERM\n")


def test_what_can_not_be_served(aistorage, tmp_path):
    """One line that says why, and exit status 1: no traceback, no password."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = [
            (("memory://", "--port", port), f"can't listen on 127.0.0.1:{port}: "),
            (("nosuch://user:hunter2@host/db",), "no backend knows the scheme nosuch://"),
            (("memory://",), "PROMETHEUS_MULTIPROC_DIR: "),
        ]
        for arguments, said in cases:
            wrong = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "no")} if "PROM" in said else {}
            done = aistorage("serve", *arguments, **wrong)
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1].startswith(f"Error: {said}")
            assert "Traceback" not in done.stderr
            assert "hunter2" not in done.stderr
