"""PostgreSQL clusters whose data directories a test works on: backed up, restored, replicated."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pytest_aistorage.servers import ServerSpec
from pytest_aistorage.servers.postgres import Postgres
from pytest_aistorage.servers.process import _owner
from pytest_aistorage.servers.supervisor.ports import free_port

__all__ = ["Clusters"]

_SECONDS = 120
_PASSWORD = "only-in-tests"


class Clusters:
    """Makes clusters in one directory, by the server's own programs and under a user whom it accepts.

    Attributes:
        directory: where the clusters are; the server's user owns it.
        programs: the directory of ``initdb``, ``pg_ctl`` and ``pg_basebackup``.
    """

    def __init__(self) -> None:
        found = [program.resolve().parent for program in Postgres().programs(ServerSpec.parse("postgres"))]
        complete = [place for place in found if (place / "pg_basebackup").is_file()]
        assert complete, "PostgreSQL's own programs are missing: apt-get install postgresql"
        self.programs = complete[0]
        self.directory = Path(tempfile.mkdtemp(prefix="aispg"))
        self._ports: dict[Path, int] = {}
        self._owner = _owner()
        if self._owner is not None:
            os.chown(self.directory, *self._owner)

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command as the server's user; return what it printed."""
        user, group = self._owner or (None, None)
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={"PATH": f"{self.programs}:{os.defpath}", "LC_ALL": "C", "TZ": "UTC", **(env or {})},
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            # To a file: a server that is started keeps a pipe open.
            stdout=(output := tempfile.TemporaryFile("w+")),  # noqa: SIM115  # closed below
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
        with output:
            output.seek(0)
            said = output.read()
        assert done.returncode == 0, f"{' '.join(command)}\n{said}"
        return said

    def create(self, name: str, settings: str) -> Path:
        """Make a cluster with these lines in its configuration, and start it."""
        data = self.directory / name
        secret = self.directory / "password"
        secret.write_text(_PASSWORD)
        secret.chmod(0o644)
        # Segments of 1 MB: an archive gets whole ones only.
        options = ["--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", "--wal-segsize=1"]
        self.run("initdb", "-U", "postgres", "-D", str(data), "--locale=C", "-E", "UTF8", *options)
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(settings)
        self.start(data)
        return data

    def start(self, data: Path) -> None:
        """Start the cluster in a directory, on the loopback interface."""
        port = self._ports.setdefault(data, free_port())
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={self.directory}"
        log = self.directory / "server.log"
        self.run("pg_ctl", "start", "-w", "-D", str(data), "-o", options, "-l", str(log))

    def stop(self, data: Path, mode: str = "fast") -> None:
        """Stop it."""
        self.run("pg_ctl", "stop", "-w", "-D", str(data), "-m", mode)

    def url(self, data: Path, *, password: str = _PASSWORD) -> str:
        """Leads to the database ``postgres``."""
        return f"postgresql://postgres:{password}@127.0.0.1:{self._ports[data]}/postgres"

    def close(self) -> None:
        """Stop all that run, and remove everything."""
        for data in self._ports:
            if (data / "postmaster.pid").exists():
                self.stop(data, "immediate")
        shutil.rmtree(self.directory)
