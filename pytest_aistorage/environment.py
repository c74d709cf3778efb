"""Which storage the environment asks for: the guide's table, as a settings object that shows no secret."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from .config import OptionChecks, SecretText, StorageURL, shown
from .errors import ConfigurationError
from .registry import backend_class, backend_for, backend_of

if TYPE_CHECKING:
    from .storage import AIStorage

__all__ = ["TYPES", "StorageConfig", "get_storage_config", "options_of_environment"]

TYPES = ("memory", "file", "database", "redis", "hybrid", "cutover")
"""The types of the guide's storages, and of the one on its way from a file to a database."""

_PREFIX = "AI_STORAGE_"
_NAMES_OF_ENVIRONMENTS = (f"{_PREFIX}ENV", "APP_ENV", "NODE_ENV")
_PRODUCTION = frozenset(
    {"production", "prod"}
)  # Symfony's and Rails' conventions; neither may end at the file
_ADDRESSES = {"connection_string": "DATABASE_URL", "redis_url": "REDIS_URL"}
_NEEDED = {
    **dict.fromkeys(("database", "cutover"), ("connection_string",)),
    "redis": ("redis_url",),
    "hybrid": tuple(_ADDRESSES),
}
_BACKEND_OF_ADDRESS = {"connection_string": "database", "redis_url": "redis"}

# What else begins with the prefix and is no option: those of this module, and those of the pytest plugin.
_OWN_NAMES = ("ENV", "TYPE", "PATH", *_ADDRESSES.values())
_NAMES_OF_THE_PLUGIN = ("REQUIRE", "URL")
_TYPO = 0.85
"""How alike a name must be to one that is known to be taken for it misspelt; 1.0 is equal."""


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class StorageConfig:
    """What to open: the arguments of `ProductionAIStorage`. Neither its repr nor its options' holds a secret.

    Attributes:
        type: ``"memory"``, ``"file"``, ``"database"``, ``"redis"`` or ``"hybrid"``.
        options: of that type, by their snake_case names: ``connection_string``, ``redis_url``, ``timeout``, …
    """

    type: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        kept = {
            name: SecretText(value) if isinstance(value, str) and shown(name, value) != value else value
            for name, value in self.options.items()
        }
        object.__setattr__(self, "options", kept)

    def __repr__(self) -> str:
        options = {name: shown(name, value) for name, value in self.options.items()}
        return f"{type(self).__name__}(type={self.type!r}, options={options!r})"


def get_storage_config(environ: Mapping[str, str] | None = None) -> StorageConfig:
    """Return which storage the environment asks for; nothing is opened.

    =================================  ======================================================================
    in production, with a Redis URL    ``hybrid``
    in production, without one         ``database``
    ``CI=true``                        ``memory``
    otherwise                          ``file``
    =================================  ======================================================================

    The environment's name is the first that is set of ``AI_STORAGE_ENV``, ``APP_ENV`` and ``NODE_ENV``.
    ``AI_STORAGE_TYPE`` overrules the table; ``cutover``, from a file to a database, is only there. Addresses are
    ``DATABASE_URL`` and ``REDIS_URL``, or ``AI_STORAGE_DATABASE_URL`` and ``AI_STORAGE_REDIS_URL``, which win. The
    file is ``AI_STORAGE_PATH``. Every option of the storage is read from ``AI_STORAGE_`` and its name in capitals,
    ``AI_STORAGE_TIMEOUT=3``, and wins over the query of a URL. A variable that is empty counts as not set.

    Args:
        environ: the variables; default: those of the process, as they are now.

    Raises:
        ConfigurationError: production without a database's URL, an unknown type, a variable that can't be right or
            that is most likely misspelt. The message names the variable, and shows no secret.
    """
    __tracebackhide__ = True  # pytest would print the variables, with their passwords
    given = _stripped(environ)
    kind = _type(given)
    return StorageConfig(kind, options_of_environment(kind, given))


def options_of_environment(kind: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what the environment says of a storage of this type: its addresses and options, checked.

    Args:
        kind: one of `TYPES`.
        environ: as for `get_storage_config`.

    Raises:
        ConfigurationError: an address that is missing, or as for `get_storage_config`.
    """
    __tracebackhide__ = True  # as above
    given = _stripped(environ)
    options: dict[str, Any] = {}
    for option in _NEEDED.get(kind, ()):
        if (url := _address(option, given)) is None:
            name = _ADDRESSES[option]
            raise ConfigurationError(f"a storage of type {kind} needs {name} or {_PREFIX}{name} to be set")
        options[option] = url
    options |= _further_options(kind, list(options.values()), given)
    if kind in ("file", "cutover") and (path := given.get(f"{_PREFIX}PATH")):
        options["path"] = str(path)
    return options


def _stripped(environ: Mapping[str, str] | None) -> dict[str, SecretText]:
    """The variables that are set. A secret out of a file often ends in a newline.

    None is shown by its repr: pytest prints the arguments of the frames that it prints.
    """
    source = os.environ if environ is None else environ
    relevant = {*_NAMES_OF_ENVIRONMENTS, *_ADDRESSES.values(), "CI"}
    return {
        name: SecretText(value.strip())
        for name, value in source.items()
        if (name in relevant or name.startswith(_PREFIX)) and value.strip()
    }


def _type(given: Mapping[str, str]) -> str:
    if kind := str(given.get(f"{_PREFIX}TYPE", "")):
        if kind not in TYPES:
            raise ConfigurationError(f"{_PREFIX}TYPE: must be one of {', '.join(TYPES)}, got {kind!r}")
        return kind
    named = next((name for name in _NAMES_OF_ENVIRONMENTS if name in given), None)
    if named is not None and given[named].lower() in _PRODUCTION:
        if _address("connection_string", given) is None:
            raise ConfigurationError(
                f"{named}={given[named]}: production needs DATABASE_URL or {_PREFIX}DATABASE_URL to be set; "
                "it never falls back to the JSON file, which loses data"
            )
        return "database" if _address("redis_url", given) is None else "hybrid"
    return "memory" if given.get("CI", "").lower() in ("true", "1") else "file"


def _address(option: str, given: Mapping[str, str]) -> str | None:
    """An address, checked; None where neither of its variables is set."""
    wanted = _BACKEND_OF_ADDRESS[option]
    for name in (f"{_PREFIX}{_ADDRESSES[option]}", _ADDRESSES[option]):
        if name in given:
            check_address(name, given[name], wanted)
            return given[name]
    return None


def check_address(name: str, url: object, wanted: str) -> None:
    """Refuse a URL that leads to another kind of storage: two that were swapped, most likely.

    Args:
        name: the variable or option that it comes from.
        url: the address.
        wanted: the backend's name, ``"database"``.

    Raises:
        ConfigurationError: no URL, or one of another backend; the message names the variable and not the URL.
    """
    __tracebackhide__ = True  # as above
    try:
        parts = StorageURL.parse(url)  # type: ignore[arg-type]  # it says what is no str
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    if (found := backend_of(parts.scheme)) != wanted:
        raise ConfigurationError(
            f"{name}: {parts.scheme}:// is {f'a URL of {found}' if found else 'known to no backend'}, not of {wanted}"
        )


def _known_options(kind: str, urls: Sequence[str]) -> OptionChecks:
    """The options of a storage of this type, at these addresses, that can be told as text; each with its check."""
    if kind == "cutover":
        backend = backend_for("cutover:")  # the new storage's options stand in its URL
    else:
        backend = backend_for(urls[0]) if len(urls) == 1 else backend_class(kind)
    known = dict(cast("type[AIStorage]", backend).url_options)
    if kind == "cutover":
        del known["to"]  # an address, as the cache is
    if kind == "hybrid":
        del known["cache"]  # an address, which has a variable of its own
        known["prefix"] = cast("type[AIStorage]", backend_for(urls[1])).url_options["prefix"]
    return known


def _further_options(kind: str, urls: Sequence[str], given: Mapping[str, str]) -> dict[str, Any]:
    variables = {
        option.lower(): name
        for name in given
        if (option := name.removeprefix(_PREFIX)) != name
        and option not in _OWN_NAMES
        and not option.startswith(_NAMES_OF_THE_PLUGIN)
    }
    if not variables:
        return {}  # and no driver is imported
    known = _known_options(kind, urls)
    options: dict[str, Any] = {}
    for option, name in variables.items():
        if option in known:
            try:
                options[option] = known[option](option, str(given[name]))
            except ConfigurationError as error:
                raise ConfigurationError(f"{name}: {error}") from None
            continue
        # Another storage's option is none of this one's business, nor is what else begins with the prefix: a
        # Kubernetes service "ai-storage" sets AI_STORAGE_SERVICE_HOST. What looks misspelt is.
        candidates = [*known, *map(str.lower, _OWN_NAMES)]
        if alike := difflib.get_close_matches(option, candidates, n=1, cutoff=_TYPO):
            raise ConfigurationError(f"{name}: unknown; did you mean {_PREFIX}{alike[0].upper()}?")
    return options
