"""Contract tests that a subclass replaces: with a written reason a deviation, without one a failure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import pytest

from ...errors import ConfigurationError
from ..factories import reasons_to_withhold

__all__ = ["check_reasons", "deviation", "deviation_of", "guard_overrides"]

Test = TypeVar("Test", bound=Callable[..., None])

_REASON = "aistorage_deviation"


def deviation(reason: str) -> Callable[[Test], Test]:
    """Let a method of a subclass stand in for a contract test; the report shows it as a deviation, with the reason.

    Args:
        reason: why the storage can't keep this promise; not empty.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise TypeError(f"a deviation needs a written reason, got {reason!r}")

    def mark(test: Test) -> Test:
        test.__dict__[_REASON] = reason
        return test

    return mark


def deviation_of(suite: object, name: str, function: object) -> str | None:
    """Return the reason for which a test of a class, or of an instance, is not the contract's; None: it is."""
    written: Mapping[str, str] = getattr(suite, "deviations", {})
    reason: str | None = getattr(function, _REASON, None) or written.get(name)
    return reason


def check_reasons(owner: str, written: Mapping[str, str], contract: Collection[str]) -> None:
    """See that ``deviations`` are what they should be.

    Args:
        owner: who wrote them, for the message.
        written: the reasons, by a test's name.
        contract: the names of all contract tests.

    Raises:
        TypeError: they name no contract test, or give no reason.
    """
    for name, reason in written.items():
        if name not in contract:
            raise TypeError(f"{owner}.deviations: there is no contract test {name!r}")
        if not isinstance(reason, str) or not reason.strip():
            raise TypeError(f"{owner}.deviations: {name} needs a written reason, got {reason!r}")


def guard_overrides(cls: type, contract: Mapping[str, Callable[..., None]]) -> None:
    """Let each contract test of a class fail that was replaced without a reason.

    Args:
        cls: a subclass; what it inherits from other classes counts too.
        contract: the tests of the contract, by name.

    Raises:
        TypeError: ``deviations`` names no contract test, ``withheld`` no capability, or one gives no reason.
    """
    check_reasons(cls.__name__, getattr(cls, "deviations", {}), contract)
    try:
        reasons_to_withhold(cls)
    except ConfigurationError as error:
        raise TypeError(f"{cls.__name__}.{error}") from None
    for name, test in contract.items():
        found = getattr(cls, name, None)
        if found is not test and deviation_of(cls, name, found) is None:
            setattr(cls, name, _silent(cls.__name__, name))


def _silent(cls: str, name: str) -> Callable[..., None]:
    def test(self: Any) -> None:
        pytest.fail(
            f"{cls} replaces the contract test {name} without saying why: decorate it with "
            '@deviation("reason"), or write the reason into `deviations`',
            pytrace=False,
        )

    test.__name__ = name
    test.__doc__ = "A contract test that was replaced without a word."
    return test
