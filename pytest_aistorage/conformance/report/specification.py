"""The contract tests by name: their area, and what each requires. The specification that a report is about."""

from __future__ import annotations

import dataclasses
from functools import cache

__all__ = ["Specified", "specified"]


@dataclasses.dataclass(frozen=True, slots=True)
class Specified:
    """A contract test.

    Attributes:
        area: what it is about.
        requires: the guarantees without which it does not apply, sorted.
        unless: the guarantee whose lack it is about.
        evidence_for: the guarantees that it is about, where that is not to be seen from ``requires``, sorted.
    """

    area: str
    requires: tuple[str, ...]
    unless: str | None
    evidence_for: tuple[str, ...] | None


@cache
def specified() -> dict[str, Specified]:
    """Return all contract tests, in the order of their definition."""
    # The package's own door: it lets pytest rewrite the assertions first.
    from .. import AIStorageContract
    from ..contract import contract_tests

    found = {}
    for name in contract_tests():
        home = next(base for base in AIStorageContract.__mro__[1:] if name in vars(base))
        test = vars(home)[name]
        unless = getattr(test, "aistorage_unless", None)
        about = getattr(test, "aistorage_evidence_for", None)
        found[name] = Specified(
            area=getattr(home, "area", ""),
            requires=tuple(sorted(one.value for one in getattr(test, "aistorage_requires", ()))),
            unless=None if unless is None else unless.value,
            evidence_for=None if about is None else tuple(sorted(one.value for one in about)),
        )
    return found
