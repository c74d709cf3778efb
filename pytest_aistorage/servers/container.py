"""Servers as containers, by testcontainers, where a Docker engine answers."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_aistorage.servers.base import Offer, ProviderUnavailableError, ServerOptions, ServerSpec
from pytest_aistorage.servers.kind import ServerKind
from pytest_aistorage.servers.supervised import Lease, Records, Supervisor, sweep_roots

__all__ = ["engine_version", "offer", "start"]

# For the image to be pulled, and for a server that initializes its data before it answers.
_TIMEOUT = 300.0
_CHECK_TIMEOUT = 1.0
_BOOT = "from pytest_aistorage.servers.container_engine import main; main()"
_START_DOCKER = "start a Docker engine"


def start(
    kind: ServerKind,
    spec: ServerSpec,
    options: ServerOptions,
    lease: Lease,
    records: Records | None,
    *,
    password: str,
    durable: bool,
    settings: Mapping[str, str],
) -> Supervisor:
    """Start a container under a supervisor, so that it outlives the process that happened to ask first.

    Args:
        kind: of the spec.
        spec: what is wanted; its version names the image.
        options: timeouts.
        lease: a share in the server-to-be.
        records: how others find it; None for a private one.
        password: the superuser's.
        durable: with the settings that survive a crash.
        settings: more settings of the server.

    Raises:
        ProviderUnavailableError: no engine, no image, or the server did not start.
    """
    _require_library()
    engine_version()
    timeout = max(options.timeout, _TIMEOUT)
    plan: dict[str, Any] = {
        **asdict(kind.container(spec, password, durable=durable, settings=settings)),
        "kind": kind.kind,
        "password": password,
        "timeout": timeout,
        "sweep": sweep_roots(options),
        "spec": str(spec),
    }
    # With the environment as it is: it says where the engine is, and how testcontainers is to behave.
    path = os.pathsep.join(os.path.abspath(place) for place in sys.path)
    env = {**os.environ, "PYTHONPATH": path}
    try:
        return Supervisor(["-c", _BOOT], env, plan, lease.path, records, timeout)
    except ProviderUnavailableError as error:
        remedy = f"docker pull {plan['image']}"
        if "ryuk" in error.reason:
            remedy = (
                "set TESTCONTAINERS_RYUK_DISABLED=true, for the image of testcontainers' reaper can't be had"
            )
        raise ProviderUnavailableError(error.reason, remedy) from error


def offer(kind: ServerKind, spec: ServerSpec, options: ServerOptions) -> Offer:
    """Whether an engine answers, and whether it has the image already."""
    image = kind.container(spec, "", durable=False, settings={}).image
    try:
        kind.require_driver()
        _require_library()
        version = engine_version()
    except ProviderUnavailableError as error:
        return Offer("container", False, error.reason, error.remedy)
    try:
        there = _ask(f"/images/{image}/json") is not None
    except (OSError, ValueError):
        there = False
    return Offer("container", True, f"{version}, {image}{'' if there else ' (to be pulled)'}")


def engine_version() -> str:
    """Name and version of the Docker engine, which has a second to answer.

    Raises:
        ProviderUnavailableError: none answers.
    """
    host = _engine()
    try:
        said = _ask("/version") if host.startswith(("unix://", "tcp://", "http://")) else _ask_by_library()
    except Exception as error:  # the library's errors are of many kinds, and none may become a traceback
        reason = str(error) or type(error).__name__
        raise ProviderUnavailableError(
            f"no Docker engine answers at {host} ({reason})", _START_DOCKER
        ) from error
    if said is None or "Version" not in said:
        raise ProviderUnavailableError(f"what answers at {host} is no Docker engine", _START_DOCKER)
    return f"Docker {said['Version']}"


def _require_library() -> None:
    if importlib.util.find_spec("testcontainers") is None:
        raise ProviderUnavailableError(
            "the library testcontainers is missing", "pip install 'pytest-aistorage[containers]'"
        )


def _engine() -> str:
    """Where testcontainers will look for the engine."""
    host = _testcontainers_property("tc.host") or os.environ.get("DOCKER_HOST") or _context_host()
    if host:
        return host
    return "npipe:////./pipe/docker_engine" if sys.platform == "win32" else "unix:///var/run/docker.sock"


def _testcontainers_property(name: str) -> str | None:
    try:
        text = (Path.home() / ".testcontainers.properties").read_text("utf-8")
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None
    pairs = (line.partition("=") for line in text.splitlines())
    return next((value.strip() for key, equals, value in pairs if equals and key.strip() == name), None)


def _context_host() -> str | None:
    """The engine of the context that ``docker context use`` chose."""
    try:
        home = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        chosen = os.environ.get("DOCKER_CONTEXT")
        chosen = chosen or json.loads((home / "config.json").read_text("utf-8")).get("currentContext")
        if not chosen or chosen == "default":
            return None
        for place in (home / "contexts" / "meta").glob("*/meta.json"):
            meta = json.loads(place.read_text("utf-8"))
            if meta.get("Name") == chosen:
                return str(meta["Endpoints"]["docker"]["Host"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def _ask(path: str) -> dict[str, Any] | None:
    """A GET of the engine's interface, without the library, which takes longer to import than to answer."""
    host = _engine()
    if os.environ.get("DOCKER_TLS_VERIFY") and not host.startswith("unix://"):
        return _ask_by_library() if path == "/version" else None
    scheme, _, place = host.partition("://")
    if scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        address: str | tuple[str, int] = place
    else:
        connection = socket.socket()
        name, _, port = place.rstrip("/").partition(":")
        address = (name, int(port or 2375))
    with connection:
        connection.settimeout(_CHECK_TIMEOUT)
        connection.connect(address)
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        with connection.makefile("rb") as stream:
            answer = stream.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        return None
    said: dict[str, Any] = json.loads(body)
    return said


def _ask_by_library() -> dict[str, Any]:
    import docker

    client = docker.from_env(timeout=2)
    try:
        said: dict[str, Any] = client.version()
    finally:
        client.close()
    return said
