"""Whether a server's settings let a write be lost that it has acknowledged."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ConfigurationError
from ._connections import Session
from ._schema import Flavour
from ._statements import Statement

__all__ = ["DURABILITIES", "checked_durability", "verify_durability"]

DURABILITIES = ("declared", "verified")

# What to ask, and the values with which an acknowledged write survives a crash and a loss of power.
_ASKED: Mapping[Flavour, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "postgresql": (
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')",
        {
            "fsync": ("on",),
            "full_page_writes": ("on",),
            "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
        },
    ),
    "mysql": (
        "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite",
        {"innodb_flush_log_at_trx_commit": ("1",), "innodb_doublewrite": ("1", "ON")},
    ),
    "sqlite": ("PRAGMA synchronous", {"synchronous": ("2", "3")}),
}


def checked_durability(name: str, value: object) -> str:
    """Check an option that is one of `DURABILITIES`."""
    if value not in DURABILITIES:
        raise ConfigurationError(f"option {name}: must be one of {', '.join(DURABILITIES)}, got {value!r}")
    return str(value)


def verify_durability(session: Session, flavour: Flavour, where: str) -> None:
    """Compare the settings of the server, as they are for this session, with what a storage declares.

    Raises:
        ConfigurationError: naming the setting and its value.
        Exception: the driver's.
    """
    question, wanted = _ASKED["mysql" if flavour == "mariadb" else flavour]
    (found,) = session.rows(Statement(question), {})
    for (name, durable), value in zip(wanted.items(), found, strict=True):
        if str(value) not in durable:
            raise ConfigurationError(
                f"{where}: opened with durability=verified, but {name} is {value}: a write that the server "
                f"acknowledges may be lost; it must be {' or '.join(durable)}"
            )
