"""MySQL and MariaDB: how they are found, started, and asked for databases."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pytest_aistorage.servers.base import Kind, ProviderUnavailableError, ServerSpec, with_parts
from pytest_aistorage.servers.binaries import Binaries, lookup
from pytest_aistorage.servers.kind import ContainerPlan, LaunchPlan, ServerKind
from pytest_aistorage.servers.supervisor.probes import mysql_text_version

__all__ = ["MySQL"]

_IMAGE_VERSIONS = {"mysql": "9", "mariadb": "11.8"}
_COMMON = {
    "skip-name-resolve": "ON",
    "performance-schema": "OFF",
    "max-connections": "300",
    "character-set-server": "utf8mb4",
    "innodb-buffer-pool-size": "64M",
}
_VOLATILE = {"innodb-flush-log-at-trx-commit": "0", "sync-binlog": "0", "innodb-doublewrite": "OFF"}
_DURABLE = {"innodb-flush-log-at-trx-commit": "1", "sync-binlog": "1"}


class MySQL(ServerKind):
    """MySQL and MariaDB by PyMySQL."""

    kind: ClassVar[Kind] = "mysql"
    driver = "pymysql"
    extra = "mysql"
    has_template = True
    fsyncs_in_memory = False  # MariaDB takes it for persistent memory, and maps its log there

    def programs(self, spec: ServerSpec) -> list[Path]:
        """The servers on PATH and in the usual places."""
        places = [
            place
            for pattern in (
                "opt/homebrew/opt/*sql@*/bin",
                "opt/homebrew/opt/mariadb@*/bin",
                "usr/local/mysql/bin",
            )
            for place in Path("/").glob(pattern)
        ]
        return lookup(["mariadbd", "mysqld"], [*places, Path("/usr/libexec")])

    def wheel_program(self) -> Path:
        """There is none."""
        raise ProviderUnavailableError("there is no wheel with a MySQL or MariaDB server")

    def install_remedy(self, spec: ServerSpec) -> str:
        """A package manager's line."""
        name = spec.flavour or "mariadb"
        return f"brew install {name}" if sys.platform == "darwin" else f"apt-get install {name}-server"

    def roots(self, server: Path) -> tuple[Path, ...]:
        """The installation's own tree."""
        return (server.resolve().parent.parent,)

    def launch(
        self, binaries: Binaries, password: str, *, durable: bool, settings: Mapping[str, str]
    ) -> LaunchPlan:
        """TCP on the loopback interface with a password, which is set before the first connection."""
        initial = "@sockets@/init.sql"
        chosen = {
            "datadir": "@data@",
            "socket": "@sockets@/m.sock",
            "tmpdir": "@sockets@",
            "pid-file": "@data@/server.pid",
            "port": "@port@",
            "bind-address": "127.0.0.1",
            **_COMMON,
            **_redo_log(binaries),
            **(_DURABLE if durable else _VOLATILE),
        }
        argv = [str(binaries.server), "--no-defaults", "--skip-log-bin"]
        if binaries.product.startswith("MySQL"):
            argv.append("--mysqlx=OFF")  # it has a port of its own, always the same
        chosen.update(settings)
        argv += [f"--{name}={value}" for name, value in chosen.items()]
        accounts = [f"CREATE USER IF NOT EXISTS 'root'@'{host}';" for host in ("localhost", "127.0.0.1")]
        for host in ("localhost", "127.0.0.1"):
            accounts.append(f"ALTER USER 'root'@'{host}' IDENTIFIED BY '{password}';")
            accounts.append(f"GRANT ALL PRIVILEGES ON *.* TO 'root'@'{host}' WITH GRANT OPTION;")
        accounts.append("DROP USER IF EXISTS 'root'@'::1';")  # MariaDB's script makes it, without a password
        return LaunchPlan(
            argv=argv,
            first_argv=[f"--init-file={initial}"],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            files={initial: "\n".join(accounts) + "\n"},
            passing_files=[initial],
        )

    @property
    def template_flags(self) -> str:
        """The size of the redo log, which a server would otherwise change when it starts."""
        return "redo log 8M"

    def make_template(self, binaries: Binaries, data: Path, work: Path, run: Any, timeout: float) -> None:
        """MariaDB's install script, or MySQL's own --initialize-insecure; the password is set at the start."""
        redo = [f"--{name}={value}" for name, value in _redo_log(binaries).items()]
        # In /tmp, names are told apart by a process id, which one in a container may have as well.
        redo.append(f"--tmpdir={work}")
        if binaries.product.startswith("MariaDB"):
            script = _install_script(binaries.server)
            options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
            command: list[str | Path] = [script, "--no-defaults", f"--datadir={data}", *options, *redo]
        else:
            command = [binaries.server, "--no-defaults", "--initialize-insecure", f"--datadir={data}", *redo]
        done = run(
            [str(part) for part in command],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd="/",
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-4:]
            raise ProviderUnavailableError(f"the data directory could not be made: {' | '.join(said)}")

    def container(
        self, spec: ServerSpec, password: str, *, durable: bool, settings: Mapping[str, str]
    ) -> ContainerPlan:
        """The official images."""
        flavour = spec.flavour or "mysql"
        chosen = {**_COMMON, **(_DURABLE if durable else _VOLATILE), **settings}
        return ContainerPlan(
            image=f"{flavour}:{spec.version or _IMAGE_VERSIONS[flavour]}",
            port=3306,
            command=["--skip-log-bin", *(f"--{name}={value}" for name, value in chosen.items())],
            env={f"{flavour.upper()}_ROOT_PASSWORD": password},
            tmpfs=[] if durable else ["/var/lib/mysql"],
        )

    def url(self, host: str, port: int, password: str) -> str:
        """Leads to no database."""
        return f"mysql://root:{password}@{host}:{port}/"

    def version(self, url: str, timeout: float) -> str:
        """By SELECT VERSION()."""
        with _connect(url, timeout) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            return mysql_text_version(cursor.fetchone()[0])

    def create(self, url: str, name: str, *, owned: bool, number: int) -> str:
        """CREATE DATABASE."""
        with _connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return with_parts(url, path=f"/{name}")

    def drop(self, url: str, database_url: str) -> None:
        """DROP DATABASE."""
        self._drop(url, self.name_in(database_url, owned=True))

    def _drop(self, url: str, name: str) -> None:
        with _connect(url) as connection, connection.cursor() as cursor:
            # An open transaction would hold the tables, and DROP would wait for it.
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
            for (thread,) in cursor.fetchall():
                _kill(cursor, thread)
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def name_in(self, database_url: str, *, owned: bool) -> str:
        """The path of the URL."""
        return urlsplit(database_url).path.lstrip("/")

    def clear(self, url: str) -> None:
        """All databases with our prefix."""
        with _connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(r"SHOW DATABASES LIKE 'aistorage\_%'")
            names = [row[0] for row in cursor.fetchall()]
        for name in names:
            self._drop(url, name)


def _kill(cursor: Any, thread: int) -> None:
    import pymysql

    no_such_thread = 1094
    try:
        cursor.execute(f"KILL {thread}")
    except pymysql.err.MySQLError as error:
        if error.args[0] != no_such_thread:
            raise


def _connect(url: str, timeout: float = 60.0) -> Any:
    import pymysql

    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    options: dict[str, Any] = {"unix_socket": query["unix_socket"]} if "unix_socket" in query else {}
    tls = {name: query[f"ssl_{name}"] for name in ("ca", "cert", "key") if f"ssl_{name}" in query}
    if tls:
        options["ssl"] = tls
    return pymysql.connect(
        host=parts.hostname or "localhost",
        port=parts.port or 3306,
        user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/") or None,
        connect_timeout=max(1, round(min(timeout, 10.0))),
        # Without it, a server that is stopped after it was found to listen is waited for without end.
        read_timeout=timeout,
        write_timeout=timeout,
        autocommit=True,
        **options,
    )


def _redo_log(binaries: Binaries) -> dict[str, str]:
    # Small, for a template is copied at every start.
    mariadb = binaries.product.startswith("MariaDB")
    return {"innodb-log-file-size" if mariadb else "innodb-redo-log-capacity": "8M"}


def _install_script(server: Path) -> str:
    for name in ("mariadb-install-db", "mysql_install_db"):
        for place in (server.parent, server.parent.parent / "bin", server.parent.parent / "scripts"):
            if (place / name).is_file():
                return str(place / name)
        if found := shutil.which(name):
            return found
    raise ProviderUnavailableError("mariadb-install-db is missing", "apt-get install mariadb-server-core")
