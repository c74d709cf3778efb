"""From what is wanted to a server: one provider after the other, one server a run."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pytest_aistorage.errors import ServerUnavailableError
from pytest_aistorage.servers import container, process, url
from pytest_aistorage.servers.base import (
    Offer,
    ProviderUnavailableError,
    ServerOptions,
    ServerSpec,
    joined_remedy,
    private_directory,
)
from pytest_aistorage.servers.cache import cache_directory
from pytest_aistorage.servers.kind import ServerKind
from pytest_aistorage.servers.kinds import KINDS
from pytest_aistorage.servers.power import providers_with_power
from pytest_aistorage.servers.server import Numbers, PrivateServer, Server
from pytest_aistorage.servers.supervised import Lease, Records, Supervisor
from pytest_aistorage.servers.supervisor.lease import is_free

__all__ = ["private_server", "shared_server", "stop_kept", "survey"]

_S = TypeVar("_S", bound=Server)
_KEPT_FOR = 12 * 3600.0
# Who waits for the lock waits for a worker that tries one provider after the other; the lock is the operating
# system's, so that of a worker that was killed is free at once.
_LOCK_TIMEOUT = 900.0


def shared_server(spec: ServerSpec, options: ServerOptions) -> Server:
    """The server of this run for a spec; the first process that asks starts it, the others join.

    Raises:
        ServerUnavailableError: no provider could supply it; with each one's reason.
        ConfigurationError: the options are wrong.
    """
    from filelock import FileLock

    kind = KINDS[spec.kind]
    order = options.providers_of(spec)
    if "url" in order and options.url_of(spec) is not None:
        order = ("url",)  # whoever names a server must not be given another one when it can't be reached
    place = _kept_place(options) if options.keep else private_directory(options.run_dir)
    given = json.dumps([order, options.url_of(spec)])
    slug = f"{str(spec).replace('@', '-')}-{hashlib.sha256(given.encode()).hexdigest()[:8]}"
    with FileLock(place / f"{slug}.lock", timeout=_LOCK_TIMEOUT):
        run_id = _run_id(options.run_dir)
        record = place / f"{slug}.json"
        server = _joined(kind, spec, options, record, run_id)
        if server is not None:
            return server
        failed = options.run_dir / f"{slug}.failed"
        if failed.exists():  # the reasons hold for the whole run: each provider takes its time to fail
            raise ServerUnavailableError(*json.loads(failed.read_text("utf-8")))

        def attempt(provider: str) -> Server:
            return _start_shared(kind, spec, provider, options, record, run_id)

        try:
            return _first(kind, spec, order, attempt)
        except ServerUnavailableError as error:
            failed.write_text(json.dumps([error.wanted, error.reasons, error.remedy]), "utf-8")
            raise


def private_server(
    spec: ServerSpec,
    options: ServerOptions,
    *,
    durable: bool = True,
    settings: Mapping[str, str] | None = None,
    power: bool = False,
) -> PrivateServer:
    """A server of the caller's own, to be crashed; use it as a context manager, or close it.

    Args:
        spec: what is wanted.
        options: where it may come from; never by URL.
        durable: with settings by which what was acknowledged survives a crash.
        settings: more settings, in the server's own words: ``{"synchronous_commit": "off"}``.
        power: so that it has `PrivateServer.cut_power` and `PrivateServer.fsyncs`. Each fsync then passes through a
            process of ours, which copies what it makes durable. Takes Linux 5.5, and a server that is no container.

    Raises:
        ServerUnavailableError: no provider could supply it; with each one's reason.
        UnsupportedOperationError: its power can't be cut here, or not that of a server of these providers.
        ConfigurationError: the options are wrong.
    """
    kind = KINDS[spec.kind]
    place = private_directory(options.run_dir)
    order = options.providers_of(spec)
    if power:
        order = providers_with_power(spec, order)

    def attempt(provider: str) -> PrivateServer:
        if provider == "url":
            raise ProviderUnavailableError("a server that somebody else runs can't be private")
        name = f"private-{secrets.token_hex(4)}"
        password = process.new_password()
        lease = Lease(place / f"{name}.lease", create=True)
        try:
            supervisor = _supervised(
                kind,
                spec,
                provider,
                options,
                lease,
                None,
                password,
                durable=durable,
                settings=settings or {},
                power=power,
            )
        except BaseException:
            _abandon(lease)
            raise
        answer = supervisor.answer
        return PrivateServer.over(
            supervisor,
            Path(answer["data"]) if answer["data"] else None,
            power=power,
            kind=kind,
            spec=spec,
            url=kind.url(answer["host"], answer["port"], password),
            version=answer["version"],
            provider=provider,
            run_id=secrets.token_hex(4),
            numbers=Numbers(place / f"{name}.numbers"),
            lease=lease,
        )

    return _first(kind, spec, order, attempt)


def survey(spec: ServerSpec, options: ServerOptions) -> list[Offer]:
    """What each provider could do for a spec, in the order of the options; nothing is started.

    Raises:
        ConfigurationError: the options are wrong.
    """
    kind = KINDS[spec.kind]
    return [_offer(kind, spec, provider, options) for provider in options.providers_of(spec)]


def stop_kept(options: ServerOptions, *, timeout: float = 10.0) -> int:
    """End the servers that `keep` left running, except those that a run uses at this moment: they end with it.

    Args:
        options: with the same cache directory.
        timeout: seconds to wait for them to end.

    Returns:
        How many have ended.
    """
    import time

    place = _kept_place(options)
    records = list(place.glob("*.json"))
    stops = [record.with_suffix(".stop") for record in records]
    for stop in stops:
        stop.touch()
    deadline = time.monotonic() + timeout
    while any(record.exists() for record in records) and time.monotonic() < deadline:
        if all(_in_use_or_gone(record) for record in records):
            break
        time.sleep(0.02)
    return sum(not record.exists() for record in records)


def _in_use_or_gone(record: Path) -> bool:
    known = _read(record)
    if known is None:
        return True
    try:
        lease = Lease(Path(known["lease"]))
    except OSError:
        return True
    try:
        return not lease.alone()
    finally:
        lease.release(wait=False)


def _first(kind: ServerKind, spec: ServerSpec, order: tuple[str, ...], attempt: Callable[[str], _S]) -> _S:
    reasons: list[str] = []
    remedies: list[str | None] = []
    for provider in order:
        try:
            kind.require_driver()
            return attempt(provider)
        except ProviderUnavailableError as error:
            reasons.append(f"{provider}: {error.reason}")
            remedies.append(error.remedy)
    raise ServerUnavailableError(str(spec), reasons, joined_remedy(remedies))


def _offer(kind: ServerKind, spec: ServerSpec, provider: str, options: ServerOptions) -> Offer:
    if provider == "url":
        return url.offer(kind, spec, options)
    if provider == "container":
        return container.offer(kind, spec, options)
    return process.offer(kind, spec, provider, options)


def _supervised(
    kind: ServerKind,
    spec: ServerSpec,
    provider: str,
    options: ServerOptions,
    lease: Lease,
    records: Records | None,
    password: str,
    *,
    durable: bool,
    settings: Mapping[str, str],
    power: bool = False,
) -> Supervisor:
    if provider == "container":
        return container.start(
            kind, spec, options, lease, records, password=password, durable=durable, settings=settings
        )
    return process.start(
        kind,
        spec,
        provider,
        options,
        lease,
        records,
        password=password,
        durable=durable,
        settings=settings,
        power=power,
    )


def _start_shared(
    kind: ServerKind, spec: ServerSpec, provider: str, options: ServerOptions, record: Path, run_id: str
) -> Server:
    numbers = Numbers(record.with_suffix(".numbers"))
    if provider == "url":
        given, version = url.connect(kind, spec, options)
        return Server(kind, spec, url=given, version=version, provider="url", run_id=run_id, numbers=numbers)
    numbers.reset()
    record.with_suffix(".stop").unlink(missing_ok=True)
    password = process.new_password()
    lease = Lease(record.with_name(f"{record.stem}-{secrets.token_hex(4)}.lease"), create=True)
    text = {
        "provider": provider,
        "password": password,
        "host": "@host@",
        "port": "@port@",
        "version": "@version@",
        "supervisor": "@pid@",
        "data": "@data@",
        "alive": "@alive@",
    }
    records = Records(record, text, _KEPT_FOR if options.keep else 0.0, record.with_suffix(".stop"))
    try:
        supervisor = _supervised(
            kind, spec, provider, options, lease, records, password, durable=False, settings={}
        )
    except BaseException:
        _abandon(lease)
        raise
    supervisor.hang_up()
    return _server(kind, spec, _read(record) or {}, run_id, numbers, lease, kept=options.keep)


def _abandon(lease: Lease) -> None:
    lease.release(wait=False)
    for path in (lease.path, lease.path.with_suffix(".users")):
        path.unlink(missing_ok=True)


def _joined(
    kind: ServerKind, spec: ServerSpec, options: ServerOptions, record: Path, run_id: str
) -> Server | None:
    known = _read(record)
    if known is None:
        return None
    try:
        lease = Lease(Path(known["lease"]))
    except OSError:
        return None
    # A server whose supervisor was killed would be left behind by us: its successor's supervisor removes it.
    gone = not record.exists() or is_free(known["alive"])
    if gone or not _listens(known["host"], int(known["port"])):
        lease.release(wait=False)
        return None
    numbers = Numbers(record.with_suffix(".numbers"))
    server = _server(kind, spec, known, run_id, numbers, lease, kept=options.keep)
    if options.keep and lease.alone():
        # What runs before this one have left. Nobody comes meanwhile: we hold the lock of the record.
        kind.clear(server.url)
        numbers.reset()
    return server


def _server(
    kind: ServerKind,
    spec: ServerSpec,
    known: Mapping[str, Any],
    run_id: str,
    numbers: Numbers,
    lease: Lease,
    *,
    kept: bool,
) -> Server:
    return Server(
        kind,
        spec,
        url=kind.url(known["host"], int(known["port"]), known["password"]),
        version=known["version"],
        provider=known["provider"],
        run_id=run_id,
        numbers=numbers,
        lease=lease,
        kept=kept,
    )


def _read(record: Path) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return known


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2.0).close()
    except OSError:
        return False
    return True


def _run_id(run_dir: Path) -> str:
    """Eight hexadecimal digits, the same for all processes of a run. Called under no lock of the run's own."""
    path = private_directory(run_dir) / "run-id"
    mine = run_dir / f"run-id.{secrets.token_hex(4)}"
    if not path.exists():
        mine.write_text(secrets.token_hex(4), "ascii")
        try:
            os.link(mine, path)  # the first one wins
        except FileExistsError:
            pass
        finally:
            mine.unlink()
    return path.read_text("ascii")


def _kept_place(options: ServerOptions) -> Path:
    return private_directory(cache_directory(options) / "kept")
