"""Options about servers that several commands share: which, by which providers, at which URLs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import ConfigurationError
from ..servers.base import PROVIDERS, ServerOptions, ServerSpec

__all__ = ["QUICKEST_FIRST", "SERVERS", "provider_option", "server_options", "specs_of", "url_option"]

F = TypeVar("F", bound=Callable[..., Any])

SERVERS = ("postgres", "redis", "mysql")
"""The kinds of servers, each also a backend."""

QUICKEST_FIRST = ("url", "process", "embedded", "container")
"""A program on the machine answers within tenths of a second, a container within seconds."""


def _spec_of(text: str) -> ServerSpec:
    try:
        return ServerSpec.parse(text)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error


def specs_of(names: Sequence[str]) -> list[ServerSpec]:
    """Read names such as ``postgres@17``.

    Raises:
        click.BadParameter: naming the one that can't be read.
    """
    return [_spec_of(name) for name in names]


def _parsed_urls(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    urls: dict[str, str] = {}
    for text in given:
        name, separator, url = text.partition("=")
        if not separator or "://" not in url:  # the text is not repeated: a password may be in it
            raise click.BadParameter("give NAME=URL, as in postgres=postgresql://user@host/postgres")
        _spec_of(name)
        urls[name] = url
    return urls


def _parsed_providers(_context: click.Context, _parameter: click.Parameter, given: str) -> tuple[str, ...]:
    names = [name.strip() for name in given.split(",")]
    if unknown := [name for name in names if name not in (*PROVIDERS, "auto")]:
        raise click.BadParameter(f"no provider {unknown[0]!r}; there are auto, {', '.join(PROVIDERS)}")
    return tuple(names)


def url_option(function: F) -> F:
    """Add ``--url``, given to the command as ``urls``."""
    return click.option(
        "--url",
        "urls",
        multiple=True,
        metavar="NAME=URL",
        callback=_parsed_urls,
        help="Use this server: postgres=postgresql://user@host/postgres. May be repeated. Only databases that "
        "are created for it are touched there.",
    )(function)


def provider_option(default: Sequence[str]) -> Callable[[F], F]:
    """Add ``--servers``, given to the command as ``providers``.

    Args:
        default: the order where none is given.
    """
    return click.option(
        "--servers",
        "providers",
        metavar="PROVIDERS",
        default=",".join(default),
        show_default=True,
        callback=_parsed_providers,
        help=f"Where servers may come from, in this order, with commas: {', '.join(PROVIDERS)}, auto.",
    )


def server_options(
    run_dir: Path, specs: Sequence[ServerSpec], providers: tuple[str, ...], urls: Mapping[str, str]
) -> ServerOptions:
    """Return the options of the servers layer."""
    return ServerOptions(run_dir=run_dir, providers={spec.kind: providers for spec in specs}, urls=urls)
