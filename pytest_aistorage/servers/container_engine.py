"""What a container's supervisor runs: start it, obey, remove it; and remove those that nobody needs any more."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from pytest_aistorage.servers.base import redact
from pytest_aistorage.servers.kind import ServerKind
from pytest_aistorage.servers.supervisor.files import make_base, remove_tree, sweep
from pytest_aistorage.servers.supervisor.lease import is_free
from pytest_aistorage.servers.supervisor.main import detach, supervise
from pytest_aistorage.servers.supervisor.ports import free_port
from pytest_aistorage.servers.supervisor.trouble import FailedError
from pytest_aistorage.servers.supervisor.wire import receive

__all__ = ["LABEL", "ContainerEngine", "main"]

LABEL = "org.pytest-aistorage"
"""The prefix of the labels by which the next run knows whose a container was."""

_PORTS_TRIED = 8
_POLL = 0.05
_STOP_PATIENCE = 30.0
_LOG_LINES = 4
_SIGNALS = {"postgres": "SIGINT", "redis": "SIGTERM", "mysql": "SIGTERM"}


class ContainerEngine:
    """Runs one server as a container.

    Args:
        kind: the server's.
        plan: the fields of `ContainerPlan`, and

            - ``lease``: the path of the lease file;
            - ``password``, ``spec``, ``timeout`` (seconds until the server must answer);
            - ``sweep``: where stale directories are looked for.
    """

    def __init__(self, kind: ServerKind, plan: dict[str, Any]) -> None:
        self._kind = kind
        self._plan = plan
        self._container: Any = None
        self._base = ""
        self._alive = -1
        self._url = ""

    def start(self) -> dict[str, Any]:
        """Pull the image if need be, start the container, and wait until the server answers.

        Raises:
            FailedError: with the reason, and the last lines of the log.
        """
        from docker.errors import DockerException

        self._base, self._alive = make_base(self._plan["sweep"][-1], traversable=False)
        for attempt in range(_PORTS_TRIED):
            try:
                host, port = self._run(free_port())
                break
            except DockerException as error:
                self._discard()
                said = str(error)
                taken = "already allocated" in said or "address already in use" in said.lower()
                if not taken or attempt + 1 == _PORTS_TRIED:
                    raise FailedError(f"{self._plan['image']}: {said}") from error
        self._url = self._kind.url(host, port, self._plan["password"])
        version = self._await_answer()
        return {"host": host, "port": port, "version": version, "data": "", "alive": self._alive_path}

    @property
    def _alive_path(self) -> str:
        return os.path.join(self._base, "alive")

    def remove(self) -> None:
        """Remove the container and its volumes."""
        try:
            self._discard()
        finally:
            if self._base:
                remove_tree(self._base)

    def sweep(self) -> None:
        """Remove the directories and the containers of this user's runs that are over."""
        sweep(self._plan["sweep"])
        if self._container is not None:
            remove_stale(self._container.get_docker_client().client)

    def kill(self) -> None:
        """SIGKILL to all in the container."""
        wrapped = self._running("running", "paused")
        if wrapped.status == "paused":
            wrapped.unpause()  # an engine refuses to kill what is paused
        wrapped.kill()
        wrapped.wait(timeout=_STOP_PATIENCE)

    def stop(self) -> None:
        """Shut the server down in order."""
        wrapped = self._running("running", "paused")
        if wrapped.status == "paused":
            wrapped.unpause()
        wrapped.kill(signal=_SIGNALS[self._kind.kind])
        wrapped.wait(timeout=self._plan["timeout"])

    def restart(self) -> None:
        """Start the container again, on the same port and data."""
        wrapped = self._wrapped()
        if wrapped.status in ("running", "paused"):
            self.stop()
        wrapped.start()
        self._await_answer()

    def pause(self) -> None:
        """Freeze all in the container."""
        self._running("running").pause()

    def resume(self) -> None:
        """Thaw it."""
        wrapped = self._wrapped()
        if wrapped.status == "paused":
            wrapped.unpause()

    def _run(self, port: int) -> tuple[str, int]:
        """Create and start the container; returns the address at which the server will answer."""
        from testcontainers.core.config import ConnectionMode
        from testcontainers.core.container import DockerContainer

        labels = {
            f"{LABEL}.owner": _owner(),
            f"{LABEL}.spec": self._plan["spec"],
            f"{LABEL}.lease": self._plan["lease"],
            f"{LABEL}.alive": self._alive_path,
        }
        name = f"{os.path.basename(self._base)}-{self._kind.kind}"
        container = DockerContainer(self._plan["image"], name=name, labels=labels)
        self._container = container
        container.with_command(self._plan["command"])
        container.with_envs(**self._plan["env"])
        for path in self._plan["tmpfs"]:
            container.with_tmpfs_mount(path)
        client = container.get_docker_client()
        mode = client.get_connection_mode()
        local = mode == ConnectionMode.docker_host and client.host() in ("localhost", "127.0.0.1")
        if mode.use_mapped_port:
            # A port that we choose stays the same over a restart. Nobody outside gets at it where that can be had.
            address = "127.0.0.1" if local else "0.0.0.0"
            container.ports[f"{self._plan['port']}/tcp"] = (address, port)  # type: ignore[assignment]
        container.start()
        if local:
            return "127.0.0.1", port
        return container.get_container_host_ip(), port if mode.use_mapped_port else self._plan["port"]

    def _discard(self) -> None:
        """Remove the container, if it came to be."""
        from docker.errors import APIError, NotFound

        container, self._container = self._container, None
        if container is None:
            return
        try:
            wrapped = container.get_wrapped_container()
        except Exception:  # it was not created: the library's word for that has changed more than once
            return
        try:
            wrapped.reload()
            if wrapped.status == "paused":
                wrapped.unpause()
        except NotFound:
            return
        except APIError as error:
            print(f"unpausing {wrapped.name}: {error}", file=sys.stderr)
        try:
            wrapped.remove(force=True, v=True)
        except NotFound:  # the reaper was first
            return

    def _wrapped(self) -> Any:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return wrapped

    def _running(self, *statuses: str) -> Any:
        wrapped = self._wrapped()
        if wrapped.status not in statuses:
            raise FailedError(f"the container is {wrapped.status}")
        return wrapped

    def _await_answer(self) -> str:
        deadline = time.monotonic() + self._plan["timeout"]
        while True:
            try:
                return self._kind.version(self._url, 2.0)
            except Exception as error:  # a driver's; of any kind while the server starts
                problem = redact(str(error), self._url)
            status = self._wrapped().status
            if status not in ("created", "running") or time.monotonic() > deadline:
                log = self._wrapped().logs(tail=_LOG_LINES).decode(errors="replace")
                lines = " | ".join(line.strip() for line in log.splitlines() if line.strip())
                said = redact(lines, self._url)
                raise FailedError(f"{self._plan['image']} is {status} ({problem.strip()}): {said}")
            time.sleep(_POLL)


def remove_stale(client: Any) -> None:
    """Remove containers of this user whose supervisor and users are all gone.

    The supervisor does so when it ends; if it was killed, testcontainers' reaper does, unless that is switched off.

    Args:
        client: of the docker library.
    """
    from docker.errors import APIError, NotFound

    label = {"label": f"{LABEL}.owner={_owner()}"}
    # Other runs remove theirs meanwhile.
    for container in client.containers.list(all=True, filters=label, ignore_removed=True):
        paths = [container.labels.get(f"{LABEL}.{name}", "") for name in ("alive", "lease")]
        if all(is_free(path) for path in paths):
            try:
                container.remove(force=True, v=True)
            except NotFound:
                continue
            except APIError as error:  # somebody else is removing it
                print(f"removing {container.name}: {error}", file=sys.stderr)


def _owner() -> str:
    """This user on this machine: an engine may serve several of both, whose lock files we can't see."""
    uid = os.geteuid() if sys.platform != "win32" else os.environ.get("USERNAME", "")
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()
    except OSError:
        machine = ""
    return hashlib.sha256(f"{platform.node()}|{machine}|{uid}".encode()).hexdigest()[:16]


def main() -> None:
    """Read the plan from standard input and live by it."""
    detach()
    plan = receive(0)
    if plan is not None:
        from pytest_aistorage.servers.kinds import KINDS

        if sys.platform != "win32":
            import signal

            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        supervise(ContainerEngine(KINDS[plan["kind"]], plan), plan, 0, 1)
