"""The Compose file of the repository, brought up under a name of its own."""

from __future__ import annotations

import functools
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types of its own

from pytest_aistorage.servers.base import ProviderUnavailableError
from pytest_aistorage.servers.container import engine_version

__all__ = ["PATIENCE", "ROOT", "ComposeProject", "compose_command"]

ROOT = Path(__file__).parents[2]
PATIENCE = 600
"""Seconds that anything may take; more only where something hangs."""

_FILE = ROOT / "deploy" / "compose.yaml"
_OFFICIAL = "docker-entrypoint.sh"
"""The entrypoint of Docker's official image of PostgreSQL."""


@functools.cache
def compose_command() -> tuple[str, ...]:
    """What runs Compose here; skips where there is no engine or no Compose."""
    try:
        engine_version()
    except ProviderUnavailableError as missing:
        pytest.skip(f"{missing.reason}. Remedy: {missing.remedy}")
    if shutil.which("docker") is None:
        pytest.skip("no command docker on this machine. Remedy: install Docker's client")
    candidates = [("docker", "compose"), ("docker-compose",)]
    for command in candidates:
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True).returncode == 0
        ):
            return command
    pytest.skip("no Docker Compose on this machine. Remedy: install the package docker-compose")


class ComposeProject:
    """One project of the file, with its own containers, volumes, image, passwords and port.

    Args:
        directory: where the passwords are, and what the test says beside the file.
    """

    def __init__(self, directory: Path) -> None:
        self._compose = compose_command()
        self._directory = directory
        self.name = f"aistorage-test-{secrets.token_hex(4)}"
        self.passwords = {name: secrets.token_urlsafe(24) for name in ("database_password", "redis_password")}
        for name, password in self.passwords.items():
            (directory / name).write_text(f"{password}\n")
        (directory / "redis.conf").write_text(f"requirepass {self.passwords['redis_password']}\n")
        self._beside = directory / "beside.yaml"
        self._beside.write_text(yaml.safe_dump({"services": self._services()}))
        self._environment = {**os.environ, "AISTORAGE_SECRETS": str(directory), "AISTORAGE_PORT": "0"}

    def _services(self) -> dict[str, Any]:
        """What the test says beside the file: an image's name, and the password of one that is not official."""
        services: dict[str, Any] = {"app": {"image": self.name}}
        postgres = yaml.safe_load(_FILE.read_text())["services"]["postgres"]["image"]
        found = subprocess.run(
            ["docker", "image", "inspect", postgres, "--format", "{{json .Config.Entrypoint}}"],
            capture_output=True,
            text=True,
        )
        if found.returncode == 0 and _OFFICIAL not in found.stdout:
            # Another image of that name may not read a password from a file.
            password = self.passwords["database_password"]
            services["postgres"] = {"environment": {"POSTGRES_PASSWORD": password}}
        return services

    def run(self, *words: str) -> str:
        """Run a command of Compose; return what it printed."""
        files = ["-f", str(_FILE), "-f", str(self._beside)]
        return self._done([*self._compose, "-p", self.name, *files, *words])

    def docker(self, *words: str) -> str:
        """Run a command of Docker; return what it printed."""
        return self._done(["docker", *words])

    def _done(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self) -> None:
        """Start all, and wait until each service is healthy."""
        self.run("up", "--detach")
        end = time.monotonic() + PATIENCE
        for service in ("postgres", "redis", "app"):
            while self.state(service)["Health"]["Status"] != "healthy":
                state = self.state(service)
                assert state["Running"], f"{service} has ended:\n{self.run('logs', service)}"
                assert time.monotonic() < end, f"{service}: {json.dumps(state)}\n{self.run('logs', service)}"
                time.sleep(0.2)

    def state(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container."""
        found: dict[str, Any] = self.inspected(service)["State"]
        return found

    def inspected(self, service: str) -> dict[str, Any]:
        """All that the engine shows of a service's container."""
        described: dict[str, Any] = json.loads(self.docker("inspect", self._container(service)))[0]
        return described

    def _container(self, service: str) -> str:
        # Of the engine and not of Compose, whose older versions take a second of the processor for each answer.
        labels = {"com.docker.compose.project": self.name, "com.docker.compose.service": service}
        filters = [word for label in labels.items() for word in ("--filter", f"label={'='.join(label)}")]
        return self.docker("ps", "--all", "--quiet", *filters).strip()

    def rotate_database_password(self) -> None:
        """Give the database's user another password, write it into the mounted file, and end his sessions."""
        self.passwords["database_password"] = password = secrets.token_urlsafe(24)
        (self._directory / "database_password").write_text(f"{password}\n")
        for sql in (
            f"ALTER ROLE imf PASSWORD '{password}'",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE usename = 'imf' AND pid <> pg_backend_pid()",
        ):
            psql = ("psql", "--quiet", "--username=imf", "--dbname=imf", "--command", sql)
            self.docker("exec", self._container("postgres"), *psql)

    def in_app(self, program: str) -> str:
        """Run Python in the application's container; return what it printed."""
        return self.exec_in_app("python", "-c", program).strip()

    def exec_in_app(self, *words: str) -> str:
        """Run a command in the application's container; return what it printed."""
        return self.docker("exec", self._container("app"), *words)

    def address(self) -> tuple[str, int]:
        """Host and port at which the application answers."""
        (published,) = self.inspected("app")["NetworkSettings"]["Ports"]["8000/tcp"]
        return published["HostIp"], int(published["HostPort"])

    def remove(self) -> None:
        """Remove what belongs to the project, the volumes and the image of the application included."""
        self.run("down", "--volumes", "--timeout", "5")
        self.docker("image", "rm", "--force", self.name)
        self.docker("image", "prune", "--force", "--filter", "label=stage=aistorage-build")
