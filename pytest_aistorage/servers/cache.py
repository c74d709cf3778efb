"""Data directories that are ready to be copied: made once a version, kept in the user's cache directory."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pytest_aistorage.servers.base import ProviderUnavailableError, ServerOptions, private_directory
from pytest_aistorage.servers.binaries import Binaries, version_of
from pytest_aistorage.servers.kind import ServerKind
from pytest_aistorage.servers.supervisor.files import copy_tree, make_base, remove_tree

__all__ = ["cache_directory", "discard_template", "product_of", "template_of"]

_INITIALIZATION_TIMEOUT = 120.0
_UNUSED_AFTER = 30 * 24 * 3600.0


def cache_directory(options: ServerOptions) -> Path:
    """The directory for what outlives a run; one of this run where no other can be written to."""
    if options.cache_dir is not None:
        places = [options.cache_dir]
    else:
        # Without HOME, and for a user without an entry in /etc/passwd, this may be a relative path.
        usual = _user_caches() / "pytest-aistorage"
        places = [usual] if usual.is_absolute() else []
        uid = os.geteuid() if hasattr(os, "geteuid") else 0
        places.append(Path(tempfile.gettempdir()) / f"pytest-aistorage-cache-{uid}")
    for place in places:
        try:
            return private_directory(place)
        except (OSError, ProviderUnavailableError):
            continue
    return private_directory(options.run_dir / "cache")


def _user_caches() -> Path:
    # Not platformdirs: it registers a plugin of its own with pytest, which every collection would pay for.
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", ""))
    if sys.platform == "darwin":
        return Path(os.path.expanduser("~/Library/Caches"))
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~/.cache"))


@functools.lru_cache(maxsize=64)
def _product(program: Path, cache: Path, identity: str) -> str:
    known = cache / "products.json"
    try:
        products: dict[str, str] = json.loads(known.read_text("utf-8"))
    except (OSError, ValueError):
        products = {}
    if identity not in products:
        product = version_of(program)
        if not product:
            return ""
        products[identity] = product
        unfinished = cache / f"products.{os.urandom(4).hex()}"
        unfinished.write_text(json.dumps(products), "utf-8")
        os.replace(unfinished, known)
    return products[identity]


def product_of(program: Path, cache: Path) -> str:
    """``"PostgreSQL 15.14"``, asked of a program once; empty when it does not say."""
    found = program.stat()
    return _product(program, cache, f"{program.resolve()}|{found.st_size}|{found.st_mtime_ns}")


def template_of(kind: ServerKind, binaries: Binaries, cache: Path, owner: tuple[int, int] | None) -> Path:
    """A data directory to copy, made now if there is none for this installation.

    Raises:
        ProviderUnavailableError: it could not be made.
    """
    target = _template_path(kind, binaries, cache)
    if not target.is_dir():
        from filelock import FileLock

        target.parent.mkdir(mode=0o700, exist_ok=True)
        with FileLock(f"{target}.lock", timeout=2 * _INITIALIZATION_TIMEOUT):
            if not target.is_dir():
                _make(kind, binaries, target, owner)
                _forget_unused(target.parent)
    os.utime(target)
    return target


def discard_template(template: Path) -> None:
    """Forget a template with which no server starts: a power failure, a full disk may have torn it."""
    away = template.with_name(f"{template.name}.{os.urandom(4).hex()}")
    try:
        template.rename(away)
    except OSError:
        return
    shutil.rmtree(away, ignore_errors=True)


def _template_path(kind: ServerKind, binaries: Binaries, cache: Path) -> Path:
    key = f"{binaries.identity}|{kind.template_flags}|{sys.platform}"
    return cache / "templates" / f"{kind.kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _make(kind: ServerKind, binaries: Binaries, target: Path, owner: tuple[int, int] | None) -> None:
    # Not in the cache directory: the server's user may be unable to get there. A sweep finds it if we are killed.
    base, alive = make_base(tempfile.gettempdir(), traversable=owner is not None)
    unfinished = target.with_name(f"{target.name}.{os.urandom(4).hex()}")
    try:
        data = Path(base) / "data"
        data.mkdir(mode=0o700)
        work = Path(base) / "work"
        work.mkdir(mode=0o755)
        run = subprocess.run
        if owner is not None and sys.platform != "win32":
            os.chown(data, *owner)
            os.chown(work, *owner)  # temporary files go there
            run = functools.partial(  # type: ignore[assignment]
                subprocess.run, user=owner[0], group=owner[1], extra_groups=[]
            )
        try:
            kind.make_template(binaries, data, work, run, _INITIALIZATION_TIMEOUT)
        except (OSError, subprocess.SubprocessError) as error:
            raise ProviderUnavailableError(f"the data directory could not be made: {error}") from error
        copy_tree(str(data), str(unfinished), None, None)
        unfinished.rename(target)
    finally:
        os.close(alive)
        remove_tree(base)
        shutil.rmtree(unfinished, ignore_errors=True)


def _forget_unused(directory: Path) -> None:
    """Remove the templates of versions that have not been used for a month."""
    oldest = time.time() - _UNUSED_AFTER
    for place in directory.iterdir():
        if place.is_dir() and place.stat().st_mtime < oldest:
            shutil.rmtree(place, ignore_errors=True)
