"""Server programs on this machine: where they are, which version, and whether a given user can run them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Binaries", "lookup", "newest", "version_of", "wheel_directory"]

_PATIENCE = 10.0
_EXTRA_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin")


@dataclass(frozen=True, slots=True)
class Binaries:
    """An installed server.

    Attributes:
        product: ``"PostgreSQL 15.14"``.
        server: the path of the server program.
        roots: the directories that it needs, to be copied where another user can't read them; relative to
            each other they must stay as they are.
    """

    product: str
    server: Path
    roots: tuple[Path, ...] = ()

    @property
    def identity(self) -> str:
        """What tells this installation from another one, or from itself after an upgrade."""
        found = self.server.stat()
        return f"{self.product}|{self.server.resolve()}|{found.st_size}|{found.st_mtime_ns}"


def lookup(names: Iterable[str], directories: Iterable[Path] = ()) -> list[Path]:
    """The programs of these names on PATH, in the usual places and in more directories; each file once."""
    on_path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    places = [Path(place) for place in (*on_path, *_EXTRA_DIRECTORIES) if place] + list(directories)
    found: dict[Path, Path] = {}
    for name in names:
        for place in dict.fromkeys(places):
            path = place / (f"{name}.exe" if sys.platform == "win32" else name)
            # Not Path.is_file, which is an error in a directory that we can't enter; PATH may name such.
            if os.path.isfile(path) and os.access(path, os.X_OK):
                found.setdefault(path.resolve(), path)
    return list(found.values())


def version_of(program: Path, env: dict[str, str] | None = None) -> str:
    """What a server program says of itself: ``"Redis 7.0.15"``; empty when it says nothing of use."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_PATIENCE, env=env, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return product_in(done.stdout)


def product_in(text: str) -> str:
    """The product and version that the output of ``--version`` names."""
    if match := re.search(r"\(PostgreSQL\) (\d+[\d.]*)", text):
        return f"PostgreSQL {match[1]}"
    if match := re.search(r"(Redis|Valkey) server v=(\d[\d.]*)", text):
        return f"{match[1]} {match[2]}"
    if match := re.search(r"Ver (\d[\d.]*)(-MariaDB)?", text):
        return f"{'MariaDB' if match[2] else 'MySQL'} {match[1]}"
    return ""


def newest(found: Iterable[Binaries]) -> Binaries | None:
    """The one with the highest version; None out of none."""
    return max(found, key=lambda one: _numbers(one.product), default=None)


def _numbers(product: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", product))


def wheel_directory(package: str) -> Path | None:
    """Where an installed package lies, found without importing it."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))


def readable_by(path: Path, uid: int, gid: int) -> bool:
    """Whether a user who is in no other group can get at a program: pass all its parents, and run it."""
    path = path.resolve()
    return all(_allows(place, uid, gid) for place in (path, *path.parents))


def _allows(path: Path, uid: int, gid: int) -> bool:
    found = path.stat()
    if found.st_uid == uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def copied_out(binaries: Binaries, places: Iterable[Path], key: str) -> Binaries:
    """A copy of an installation that every user can run, made once and kept.

    Args:
        binaries: what to copy.
        places: directories to try, of which each must be root's and passable for everybody.
        key: the name of the copy.

    Raises:
        OSError: no place takes it.
    """
    base = Path(os.path.commonpath(binaries.roots or (binaries.server.parent,)))
    if base in binaries.roots:
        base = base.parent
    problem: OSError | None = None
    for place in places:
        target = place / "pytest-aistorage" / key
        server = target / binaries.server.relative_to(base)
        if not server.exists():
            try:
                _copy(binaries.roots or (binaries.server,), base, target)
            except OSError as error:
                problem = error
                continue
        return Binaries(binaries.product, server, binaries.roots)
    raise problem or OSError("there is no place for it")


def _copy(roots: Iterable[Path], base: Path, target: Path) -> None:
    parent = target.parent
    parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = parent.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{parent} is not this user's own")
    unfinished = parent / f"{target.name}.{os.urandom(4).hex()}"
    try:
        unfinished.mkdir(mode=0o755)
        for root in roots:
            copy = unfinished / root.relative_to(base)
            copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if root.is_dir():
                shutil.copytree(root, copy, symlinks=True)
            else:
                shutil.copy2(root, copy)
        for place in (unfinished, *unfinished.rglob("*")):
            if not place.is_symlink():
                place.chmod(
                    place.stat().st_mode | (0o055 if place.is_dir() or os.access(place, os.X_OK) else 0o044)
                )
        try:
            unfinished.rename(target)
        except OSError:
            if not target.is_dir():  # another process was first, with the same
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
