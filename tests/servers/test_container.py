"""Containers: found quickly or not at all, and gone with their run."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from server_checks import eventually, offered

from pytest_aistorage.servers import ServerOptions, ServerSpec, shared_server
from pytest_aistorage.servers.base import ProviderUnavailableError
from pytest_aistorage.servers.container import engine_version
from pytest_aistorage.servers.container_engine import LABEL
from pytest_aistorage.servers.supervisor.tree import is_running

Start = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize(
    "host", ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1:1", "nonsense"]
)
def test_no_engine_is_one_line(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever DOCKER_HOST says, there is a reason and a remedy instead of a traceback."""
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(ProviderUnavailableError) as caught:
        engine_version()
    assert "no Docker engine" in caught.value.reason
    assert "\n" not in caught.value.reason
    assert caught.value.remedy == "start a Docker engine"


def test_an_engine_that_hangs_costs_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """What listens but never answers is given up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(ProviderUnavailableError):
            engine_version()
        assert time.monotonic() - begun < 5


def ours(options: ServerOptions) -> list[Any]:
    """The containers of this test's runs, running or not."""
    import docker

    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": f"{LABEL}.lease"}, ignore_removed=True)
        return [one for one in found if one.labels[f"{LABEL}.lease"].startswith(f"{options.run_dir}/")]
    finally:
        client.close()


def test_a_container_outlives_who_asked_first_and_goes_with_the_last(
    options: ServerOptions, starter: Start
) -> None:
    """Killing the process that started it leaves the other with its server; killing that one removes it."""
    offered("redis@8", "container", options)
    first = starter("redis@8", "container")
    assert first.stdout is not None
    url = json.loads(first.stdout.readline())["url"]
    second = starter("redis@8", "container")
    assert second.stdout is not None
    assert json.loads(second.stdout.readline())["url"] == url
    assert len(ours(options)) == 1
    first.kill()
    first.communicate()
    import redis

    with redis.Redis.from_url(url) as client:
        assert client.ping()
    second.kill()
    second.communicate()
    eventually(lambda: not ours(options), "the container is gone")


def test_the_next_run_removes_what_a_killed_supervisor_left(options: ServerOptions, starter: Start) -> None:
    """By its labels: supervisor and users are gone."""
    offered("redis@8", "container", options)
    process = starter("redis@8", "container")
    assert process.stdout is not None
    process.stdout.readline()
    record = json.loads(next(options.run_dir.glob("*.json")).read_text("utf-8"))
    (left,) = ours(options)
    os.kill(int(record["supervisor"]), 9)
    process.kill()
    process.communicate()
    eventually(lambda: not is_running(int(record["supervisor"])), "the supervisor is dead")
    chosen = dataclasses.replace(options, providers={"redis": ("container",)})
    with shared_server(ServerSpec.parse("redis@8"), chosen):
        eventually(lambda: left.id not in [one.id for one in ours(options)], "the container is gone")
        assert len(ours(options)) == 1


def test_only_this_machine_can_reach_it(options: ServerOptions) -> None:
    """The port is published on the loopback interface, and the password is in no command line."""
    offered("redis@8", "container", options)
    chosen = dataclasses.replace(options, providers={"redis": ("container",)})
    with shared_server(ServerSpec.parse("redis@8"), chosen) as server:
        (container,) = ours(options)
        published = container.attrs["NetworkSettings"]["Ports"]["6379/tcp"]
        if server.url.rpartition("@")[2].startswith("127.0.0.1"):
            assert {one["HostIp"] for one in published} == {"127.0.0.1"}
        password = server.url.partition("://:")[2].partition("@")[0]
        listed = subprocess.run(["ps", "-Ao", "args"], capture_output=True, text=True, check=True).stdout
        assert password not in listed


def test_an_image_that_can_not_be_had_is_a_reason(options: ServerOptions) -> None:
    """The next provider is asked, and the error says which image it was."""
    offered("redis@8", "container", options)
    from pytest_aistorage.errors import ServerUnavailableError

    chosen = dataclasses.replace(options, providers={"redis": ("container", "url")})
    with pytest.raises(ServerUnavailableError) as caught:
        shared_server(ServerSpec.parse("redis@0.0.1"), chosen)
    assert caught.value.reasons[0].startswith("container: redis:0.0.1")
    assert "\n" not in str(caught.value)
    assert not ours(options)
