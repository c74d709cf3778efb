"""A container is restarted: what it kept in its own file system is gone, what a database server keeps is not."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import platform
import sys
import tarfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ..errors import ServerUnavailableError
from ..progress import AIProgress
from ..registry import open_storage
from ..servers.base import ProviderUnavailableError, ServerOptions, ServerSpec
from ..servers.container import engine_version
from ..servers.resolve import private_server
from ..servers.server import PrivateServer
from .proof import Evidence, Verdict

__all__ = ["NAME", "file_in_container", "postgres_in_container"]

NAME = "container restart"

_MODELS = ("bert", "gpt", "resnet")
_ROOT = "/opt/aistorage"
_FILE_URL = f"file://{_ROOT}/training_metrics.json"

# What the application does, as users would write it. The URL comes by the environment: `docker ps` shows commands.
_SAVE = f"""
import json, os
from pytest_aistorage import AIProgress, open_storage
with open_storage(os.environ["AI_STORAGE_URL"]) as storage:
    for name in {_MODELS!r}:
        storage.save_progress(AIProgress(model_name=name, mse=0.5))
    print(json.dumps(sorted(record.model_name for record in storage.load_progress())))
"""
_LOAD = """
import json, os
from pytest_aistorage import open_storage
with open_storage(os.environ["AI_STORAGE_URL"]) as storage:
    print(json.dumps(sorted(record.model_name for record in storage.load_progress())))
"""

# Seconds that an application's container lives, if nobody removes it before.
_APPLICATION_LIFE = "120"

# What the application needs to talk to PostgreSQL.
_DRIVER = ("sqlalchemy", "typing_extensions", "psycopg", "psycopg-binary")

# The package runs on each of these; the first that is there, or can be pulled, will do.
_PYTHONS = ((3, 13), (3, 12), (3, 11), (3, 14))


class _NotShown(Exception):
    """Why the restart can't be shown here."""


def file_in_container() -> Evidence:
    """Let an application in a container save to its JSON file, and replace the container."""
    try:
        client = _engine()
        mine = sys.version_info[:2]
        image = _image(client, [mine, *(version for version in _PYTHONS if version != mine)])
        code = _archive()
        saved = _application(client, image, code, _SAVE, _FILE_URL)
        kept = _application(client, image, code, _LOAD, _FILE_URL)
    except _NotShown as error:
        return _not_shown(promised=False, reason=str(error))
    lost = len(saved) - len(kept)
    return Evidence(
        name=NAME,
        promised=False,
        lost=lost,
        of=len(saved),
        unit="records",
        verdict=Verdict.AS_DECLARED if lost else Verdict.CONTRADICTED,
        what=f"{len(saved)} records acknowledged, {len(kept)} after the application's container was replaced",
    )


def postgres_in_container(options: ServerOptions, spec: ServerSpec) -> Evidence:
    """Replace the application's container, and restart the container of its PostgreSQL.

    Args:
        options: of the servers layer.
        spec: which PostgreSQL.
    """
    try:
        client = _engine()
        try:
            server = private_server(spec, _containers_only(options, spec), durable=True)
        except ServerUnavailableError as error:
            raise _NotShown("; ".join(error.reasons)) from error
        with server:
            return _restarted(client, server)
    except _NotShown as error:
        return _not_shown(promised=True, reason=str(error))


def _restarted(client: Any, server: PrivateServer) -> Evidence:
    url = server.direct(server.create_database())  # which another container can reach
    said: list[str] = []
    try:
        run = _application_with_driver(client)
        saved = run(_SAVE, url)
        kept = run(_LOAD, url)
        said.append(
            f"{len(saved)} records acknowledged, {len(kept)} after the application's container was replaced"
        )
    except _NotShown as error:
        with open_storage(url) as storage:
            saved = [storage.save_progress(AIProgress(model_name=n, mse=0.5)).model_name for n in _MODELS]
        kept = saved
        said.append(f"{len(saved)} records acknowledged (no container of the application: {error})")
    server.restart()
    with open_storage(url) as storage:
        after = [record.model_name for record in storage.load_progress()]
    said.append(f"{len(after)} after the container of {server.version} was restarted")
    left = set(kept) & set(after)
    lost = len(set(saved) - left)
    return Evidence(
        name=NAME,
        promised=True,
        lost=lost,
        of=len(saved),
        unit="records",
        verdict=Verdict.CONTRADICTED if lost else Verdict.AS_DECLARED,
        what=", ".join(said),
    )


def _not_shown(*, promised: bool, reason: str) -> Evidence:
    return Evidence(name=NAME, promised=promised, verdict=Verdict.NOT_SHOWN, what=reason)


def _containers_only(options: ServerOptions, spec: ServerSpec) -> ServerOptions:
    return ServerOptions(
        run_dir=options.run_dir,
        providers={spec.kind: ("container",)},
        cache_dir=options.cache_dir,
        timeout=options.timeout,
    )


# -- the application ----------------------------------------------------------------------------------------


def _engine() -> Any:
    """The docker library's client. Raises _NotShown."""
    if importlib.util.find_spec("testcontainers") is None:
        raise _NotShown("the library testcontainers is missing: pip install 'pytest-aistorage[containers]'")
    try:
        engine_version()
    except ProviderUnavailableError as error:
        raise _NotShown(error.reason) from error
    from testcontainers.core.docker_client import DockerClient

    return DockerClient().client


def _image(client: Any, versions: Sequence[tuple[int, int]]) -> str:
    """An image of Python that is there, or can be pulled. Raises _NotShown."""
    from docker.errors import DockerException

    names = [f"python:{major}.{minor}-slim" for major, minor in versions]
    try:
        there = {tag for image in client.images.list() for tag in image.tags}
    except DockerException as error:
        raise _NotShown(_brief(error)) from error
    for name in names:
        if name in there:
            return name
    try:
        client.images.pull(names[0])
    except DockerException as error:
        raise _NotShown(f"the image {names[0]} is not there and can't be pulled: {_brief(error)}") from error
    return names[0]


def _application(
    client: Any, image: str, code: bytes, program: str, url: str, *, network: str = "none"
) -> list[str]:
    """Run a program in a container of its own, which is removed; returns the list that it prints.

    The code is copied in and not mounted: the engine may be on another machine.

    Raises:
        _NotShown: the container can't be run.
    """
    from docker.errors import APIError, DockerException, NotFound

    try:
        container = client.containers.create(
            image,
            ["sleep", _APPLICATION_LIFE],
            environment={"AI_STORAGE_URL": url, "PYTHONPATH": _ROOT},
            network_mode=network,
            auto_remove=True,  # by the engine: also if we are killed
        )
        try:
            container.put_archive("/", code)
            container.start()
            said = container.exec_run(["python3", "-c", program]).output.decode(errors="replace")
        finally:
            with contextlib.suppress(NotFound, APIError):  # the engine has removed it, or is about to
                container.remove(force=True)
    except DockerException as error:
        raise _NotShown(_brief(error)) from error
    lines = said.strip().splitlines()
    try:
        found: list[str] = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        # Not more of what it said: a driver's message may hold the URL.
        raise _NotShown(
            f"the application in {image} failed: {lines[-1][:120] if lines else 'no word'}"
        ) from error
    return found


def _application_with_driver(client: Any) -> Callable[[str, str], list[str]]:
    """An application's container with the driver of this interpreter copied in: there is no pip inside.

    Raises:
        _NotShown: the driver's compiled parts don't fit into a container.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        raise _NotShown("the driver that is installed here is not for Linux with glibc")
    mine = sys.version_info[:2]
    image = _image(client, [mine])
    try:
        code = _archive(_DRIVER)
    except PackageNotFoundError as error:
        raise _NotShown(f"{error.name} is not installed: pip install 'pytest-aistorage[postgres]'") from error
    return lambda program, url: _application(client, image, code, program, url, network="host")


def _archive(distributions: Sequence[str] = ()) -> bytes:
    """A tar of this package and of installed distributions, their metadata included, below the application's root."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        package = Path(__file__).resolve().parents[1]
        archive.add(package, f"{_ROOT[1:]}/{package.name}", filter=_packed)
        for name in distributions:
            for file in distribution(name).files or ():
                if not str(file).startswith("..") and file.suffix != ".pyc":
                    archive.add(file.locate(), f"{_ROOT[1:]}/{file}", filter=_packed)
    return written.getvalue()


def _packed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    return None if entry.name.endswith("/__pycache__") else entry


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
