"""A connection on which the schema is looked at and changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from .. import config
from ..backends._engines import engine_from_url
from ..backends.database import DatabaseStorage
from ..errors import StorageUnavailableError
from ..passwords import OPTION, Passwords

__all__ = ["connected"]

_CONNECT_TIMEOUT = "5"


@contextmanager
def connected(url: str, timeout: float) -> Iterator[sa.Connection]:
    """Connect; close all when done.

    Args:
        url: of a database storage.
        timeout: seconds that one exchange with the server may take.

    Raises:
        ConfigurationError: a URL that can't be read.
        StorageUnavailableError: the driver's errors, without the password.
    """
    __tracebackhide__ = True  # pytest would print the URL, with its password
    parts, options = config.option_of(config.StorageURL.parse(url), {}, DatabaseStorage.url_options)
    if parts.scheme.startswith("postgres"):
        query = {"connect_timeout": _CONNECT_TIMEOUT, **parts.query}
        parts = dataclasses.replace(parts, query=query)
    passwords = Passwords(parts, options.get(OPTION))
    engine = engine_from_url(parts, timeout=timeout, pool_size=1, max_overflow=0, passwords=passwords)
    try:
        with engine.connect() as connection:
            if engine.dialect.name != "sqlite":
                # Not the storages' autocommit: here a transaction has many statements.
                connection = connection.execution_options(isolation_level="READ COMMITTED")
            yield connection
    except (sa.exc.DBAPIError, OSError) as error:
        said = passwords.hide(" ".join(str(getattr(error, "orig", None) or error).split()))
        raise StorageUnavailableError(f"{parts}: {said}") from None
    finally:
        engine.dispose()
