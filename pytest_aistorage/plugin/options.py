"""What the user can say: command line, ini file, environment; and what comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest

__all__ = ["MARKERS", "Settings", "add_options"]

MARKERS = (
    "ai_storage(*backends, requires=()): run the test on these backends instead of those of the ini option "
    "ai_storage_backends; requires: only on those that declare these capabilities.",
    "ai_storage_server(durable=True, settings={}, power=False): how the test's private servers are started; settings "
    "are in the server's own words; power: so that they have cut_power().",
)

_DEFAULT_BACKENDS = ("memory", "file", "postgres", "redis")
_PROVIDERS = ("auto", "url", "container", "process", "embedded")
_KINDS = ("postgres", "redis", "mysql")
_ISOLATIONS = ("tables", "database")
_EFFORTS = ("quick", "normal", "thorough")

# What migration tools write down about the schema. The schema stays, so these must stay with it: an emptied
# alembic_version would make the next `alembic upgrade` create tables that are there.
_KEPT_TABLES = (
    "alembic_version",
    "django_migrations",
    "schema_migrations",
    "flyway_schema_history",
    "databasechangelog*",
    "_sqlx_migrations",
    "_yoyo_*",
    "yoyo_lock",
)


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and the ini values."""
    group = parser.getgroup("aistorage", "storage for AI training progress")
    group.addoption(
        "--ai-storage",
        action="append",
        metavar="NAMES",
        help="run on these backends only, such as postgres,redis@valkey-8, or on what package.module:factory "
        "opens: replaces the ini option ai_storage_backends, and filters what markers name",
    )
    group.addoption(
        "--ai-storage-servers",
        action="append",
        metavar="PROVIDERS",
        help="where servers come from: auto (default), url, container, process, embedded, or several in order, "
        "as in process+embedded; for one kind apart: postgres:container,redis:process",
    )
    group.addoption(
        "--ai-storage-url",
        action="append",
        metavar="KIND=URL",
        help="use this server: postgres=postgresql://user:password@host/; repeatable; also by the environment: "
        "AI_STORAGE_URL_POSTGRES, AI_STORAGE_URL_REDIS, AI_STORAGE_URL_MYSQL",
    )
    group.addoption(
        "--ai-storage-strict",
        action="store_true",
        dest="ai_storage_strict",
        default=None,
        help="a required backend whose server can't be had fails its tests instead of skipping them; "
        "on by itself where CI is set",
    )
    group.addoption(
        "--no-ai-storage-strict",
        action="store_false",
        dest="ai_storage_strict",
        help="skip them even where CI is set",
    )
    group.addoption(
        "--ai-storage-require",
        action="append",
        metavar="NAMES",
        help="the backends that must run: strict for these, and an error if no test ran on one of them; "
        "default: AI_STORAGE_REQUIRE, or else whatever is selected",
    )
    group.addoption(
        "--ai-storage-keep",
        action="store_true",
        help="leave the servers running, for the next run with this option to use",
    )
    group.addoption(
        "--ai-storage-isolation",
        choices=_ISOLATIONS,
        help="tables (default): empty every table of the run's own database before each test; "
        "database: a database of its own for each test",
    )
    group.addoption(
        "--ai-storage-effort",
        choices=_EFFORTS,
        default="normal",
        help="how hard the conformance suite tries: quick, normal (default) or thorough",
    )
    group.addoption(
        "--ai-storage-seed",
        type=int,
        default=0,
        metavar="N",
        help="what the conformance suite draws, races and kills by chance (default: 0)",
    )
    group.addoption(
        "--ai-storage-replay",
        metavar="SCHEDULE",
        help="in tests that run clients by schedules, run this one only, such as P1:get,P2:get,P2:save,P1:save",
    )
    group.addoption(
        "--ai-storage-capability",
        action="append",
        metavar="NAME",
        help="what `pytest --pyargs pytest_aistorage.conformance` takes the storage to declare, whatever its "
        "instances say; repeatable",
    )
    group.addoption(
        "--ai-storage-report",
        action="append",
        metavar="FILE",
        help="write the conformance report to FILE.json, FILE.md or FILE.html; repeatable",
    )
    group.addoption(
        "--ai-storage-compare",
        metavar="FILE.json",
        help="say what differs from an earlier conformance report; a guarantee that stands worse fails the run",
    )
    parser.addini(
        "ai_storage_backends", "the backends that tests run on", type="args", default=list(_DEFAULT_BACKENDS)
    )
    parser.addini("ai_storage_servers", "as --ai-storage-servers", type="args", default=[])
    parser.addini("ai_storage_urls", "as --ai-storage-url, one a line", type="linelist", default=[])
    parser.addini("ai_storage_isolation", "as --ai-storage-isolation", default="tables")
    parser.addini(
        "ai_storage_kept_tables",
        "tables that isolation does not empty, as patterns; default: those of migration tools",
        type="args",
        default=list(_KEPT_TABLES),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of a run, read and checked.

    Attributes:
        backends: the names of the ini file.
        only: the names of ``--ai-storage``; empty: no filter.
        providers: by kind or spec, as `ServerOptions` has it; ``""`` for the kinds not named.
        urls: by kind or spec.
        strict: whether a required backend without a server fails.
        required: what was named by ``--ai-storage-require`` or ``AI_STORAGE_REQUIRE``; None: nothing was named.
        keep: whether servers outlive the run.
        isolation: ``tables`` or ``database``.
        kept_tables: patterns of the tables that isolation leaves alone.
    """

    backends: tuple[str, ...]
    only: tuple[str, ...]
    providers: Mapping[str, tuple[str, ...]]
    urls: Mapping[str, str]
    strict: bool
    required: tuple[str, ...] | None
    keep: bool
    isolation: str
    kept_tables: tuple[str, ...]

    @classmethod
    def of(cls, config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the options of a run.

        Raises:
            pytest.UsageError: one of them can't be right.
        """
        required = _names(config.getoption("--ai-storage-require"))
        if required is None and (named := environ.get("AI_STORAGE_REQUIRE")) is not None:
            required = _names([named])
        _check_schedule(config.getoption("--ai-storage-replay"))
        strict = config.getoption("ai_storage_strict")
        if strict is None:
            # To name what is required and to skip it all the same would be a contradiction.
            strict = required is not None or environ.get("CI", "").lower() not in ("", "0", "false")
        isolation = config.getoption("--ai-storage-isolation") or config.getini("ai_storage_isolation")
        if isolation not in _ISOLATIONS:
            raise pytest.UsageError(f"ai_storage_isolation: {isolation!r} is neither tables nor database")
        return cls(
            backends=_checked("ini option ai_storage_backends", config.getini("ai_storage_backends")),
            only=_checked("--ai-storage", _names(config.getoption("--ai-storage")) or ()),
            providers=_providers(
                [*config.getini("ai_storage_servers"), *(config.getoption("--ai-storage-servers") or ())]
            ),
            urls=_urls(config, environ),
            strict=strict,
            required=None if required is None else _checked("--ai-storage-require", required),
            keep=config.getoption("--ai-storage-keep"),
            isolation=isolation,
            kept_tables=tuple(config.getini("ai_storage_kept_tables")),
        )

    def must_run(self, name: str) -> bool:
        """Whether a backend whose server can't be had is a failure."""
        return self.strict and (
            self.required is None or any(stands_for(wanted, name) for wanted in self.required)
        )


def _check_schedule(text: str | None) -> None:
    if text is None:
        return
    from ..errors import ConfigurationError
    from ..races.schedule import Schedule

    try:
        Schedule.parse(text)
    except ConfigurationError as error:
        raise pytest.UsageError(f"--ai-storage-replay: {error}") from error


def stands_for(wanted: str, name: str) -> bool:
    """Whether a name means a backend: ``postgres`` means ``postgres@17``, too."""
    return wanted in (name, name.partition("@")[0])


def _names(given: Iterable[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return tuple(dict.fromkeys(name.strip() for text in given for name in text.split(",") if name.strip()))


def _checked(where: str, names: Iterable[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(names))
    # The usual ones need no look at what is installed, nor an import.
    if not set(names).issubset((*_DEFAULT_BACKENDS, "sqlite", "mysql")):
        from .names import check_name

        for name in names:
            if problem := check_name(name):
                raise pytest.UsageError(f"{where}: {problem}")
    return names


def _providers(given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    providers: dict[str, tuple[str, ...]] = {}
    for text in given:
        for part in filter(None, (part.strip() for part in text.split(","))):
            spec, colon, order = part.rpartition(":")
            names = tuple(order.split("+"))
            for name in names:
                if name not in _PROVIDERS:
                    raise pytest.UsageError(
                        f"--ai-storage-servers: no provider is called {name!r}; there are {', '.join(_PROVIDERS)}, "
                        "for one kind as in postgres:container"
                    )
            for kind in (_checked_kind("--ai-storage-servers", spec),) if colon else _KINDS:
                providers[kind] = names
    return providers


def _urls(config: pytest.Config, environ: Mapping[str, str]) -> dict[str, str]:
    urls: dict[str, str] = {}

    def add(where: str, text: str) -> None:
        spec, _, url = text.partition("=")
        spec, url = spec.strip(), url.strip()
        # The text is not repeated: a password may hide in what can't be read.
        if "://" in spec or "://" not in url:
            raise pytest.UsageError(f"{where}: must be KIND=URL, as in postgres=postgresql://user@host/")
        urls[_checked_kind(where, spec)] = url

    for text in config.getini("ai_storage_urls"):
        add("ini option ai_storage_urls", text)
    for kind in _KINDS:
        name = f"AI_STORAGE_URL_{kind.upper()}"
        if environ.get(name):
            add(f"environment variable {name}", f"{kind}={environ[name]}")
    for text in config.getoption("--ai-storage-url") or ():
        add("--ai-storage-url", text)
    return urls


def _checked_kind(where: str, spec: str) -> str:
    if spec in _KINDS:
        return spec
    from ..errors import ConfigurationError
    from ..servers.base import ServerSpec

    try:
        return str(ServerSpec.parse(spec))
    except ConfigurationError as error:
        raise pytest.UsageError(f"{where}: {error}") from error
