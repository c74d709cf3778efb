"""What another product does that is nearest to a save and to a get."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..rounds import Operation

__all__ = ["EXTRA", "Peer", "Work", "installed", "sqlalchemy_url", "version_of"]

EXTRA = "pip install 'pytest-aistorage[bench]'"
"""What brings all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One operation of a peer.

    Attributes:
        equals: the operation of ours that it is nearest to.
        does: what is called, in words.
        call: does it once.
        calls: of a round; fewer where one takes long, or leaves much behind.
        quick_because: what spares it work that ours does, if anything; a clause.
    """

    equals: Literal["save", "get"]
    does: str
    call: Operation
    calls: int = 20
    quick_because: str = ""


class Peer(Protocol):
    """Another product's storage, open, with as many entries as there are models on our side."""

    name: str
    """The product and its version."""

    @property
    def works(self) -> Sequence[Work]:
        """What is measured."""

    def close(self) -> None:
        """Close it."""


def installed(module: str) -> bool:
    """Whether a package can be imported; it isn't."""
    return importlib.util.find_spec(module) is not None


def version_of(*distributions: str) -> str:
    """Return the version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def sqlalchemy_url(url: str) -> str:
    """Return the URL of a database of ours as SQLAlchemy wants it, with the driver that we use, too."""
    scheme, separator, rest = url.partition("://")
    return f"{'postgresql+psycopg' if scheme == 'postgresql' else scheme}{separator}{rest}"
