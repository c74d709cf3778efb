"""Every error that this package raises on purpose.

::

    AIStorageError
    ├── InvalidProgressError        bad input; nothing was written
    ├── VersionConflictError        a compare-and-set met another version; nothing was written
    ├── StorageUnavailableError     the operation did not take effect
    ├── OutcomeUnknownError         a write whose acknowledgement was lost
    ├── CorruptStorageError         what is stored can't be read
    ├── UnsupportedOperationError   needs a capability that the storage does not declare
    ├── CutoverStepError            a step of a cutover that is not next
    ├── ConfigurationError          a bad URL, option, environment or missing extra
    └── ServerUnavailableError      no provider could supply a test server

No message holds a password: what comes from a driver is redacted before it gets here.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

__all__ = [
    "AIStorageError",
    "ConfigurationError",
    "CorruptStorageError",
    "CutoverStepError",
    "InvalidProgressError",
    "OutcomeUnknownError",
    "ServerUnavailableError",
    "StorageUnavailableError",
    "UnsupportedOperationError",
    "VersionConflictError",
]

_SHOWN = 80


def _brief(value: object) -> str:
    """``repr`` of a value, cut to what a line can hold, safe for values nested too deep for ``repr``."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"<{type(value).__name__}, nested too deep to show>"
    except Exception:  # a foreign __repr__ may raise anything, and must not hide the error at hand
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class AIStorageError(Exception):
    """The base of them all: ``except AIStorageError`` catches whatever a storage raises."""


class InvalidProgressError(AIStorageError):
    """A record, or an argument beside it, breaks a rule. Nothing was written.

    Attributes:
        field: the name of the field or argument, ``"metadata"``.
        value: the value that was refused; inside metadata the innermost one.
        reason: the rule that it breaks.
        path: the keys and indexes that lead from the field to the value; empty for a scalar field.
    """

    def __init__(self, field: str, value: object, reason: str, path: tuple[object, ...] = ()) -> None:
        super().__init__(field, value, reason, path)
        self.field = field
        self.value = value
        self.reason = reason
        self.path = path

    def __reduce__(self) -> tuple[type[InvalidProgressError], tuple[object, ...]]:
        # It comes out of worker processes, too: a value that can't be pickled is told instead.
        try:
            pickle.dumps((self.value, self.path))
        except Exception:
            return type(self), (self.field, _brief(self.value), self.reason, tuple(map(_brief, self.path)))
        return type(self), (self.field, self.value, self.reason, self.path)

    def __str__(self) -> str:
        steps = "".join(f"[{_brief(step)}]" for step in self.path)
        return f"{self.field}{steps}: {self.reason}, got {_brief(self.value)}"


class VersionConflictError(AIStorageError):
    """A compare-and-set met another version than it expected. Nothing was written.

    Attributes:
        model_name: the model.
        expected: the version that the caller expected; 0 means "must not exist now".
        actual: the version that is stored; 0 when the model is absent.
    """

    def __init__(self, model_name: str, expected: int, actual: int) -> None:
        super().__init__(model_name, expected, actual)
        self.model_name = model_name
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        def said(version: int) -> str:
            return f"version {version}" if version else "no record"

        return f"model {_brief(self.model_name)}: expected {said(self.expected)}, found {said(self.actual)}"


class StorageUnavailableError(AIStorageError):
    """The storage can't be reached, is closed, or gave up in time. The operation did not take effect."""


class OutcomeUnknownError(AIStorageError):
    """A write was sent and its acknowledgement was lost: it may have taken effect, or may yet do so."""


class CorruptStorageError(AIStorageError):
    """What is stored can't be read: a torn file, a row that no version of this package wrote."""


class UnsupportedOperationError(AIStorageError):
    """The operation needs a capability that this storage does not declare."""


class CutoverStepError(AIStorageError):
    """A step of a cutover that can't be taken now. Nothing was changed.

    Attributes:
        wanted: the step, ``"switch"``.
        current: how far the cutover has come, ``"dual-write"``.
        reason: what is to be done before.
    """

    def __init__(self, wanted: str, current: str, reason: str) -> None:
        super().__init__(wanted, current, reason)
        self.wanted = wanted
        self.current = current
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.wanted}: the cutover is at {self.current!r}: {self.reason}"


class ConfigurationError(AIStorageError):
    """A bad URL, option or environment, or an extra that is not installed; the message says which."""


class ServerUnavailableError(AIStorageError):
    """No provider could supply a server for tests.

    Attributes:
        wanted: what was asked for, ``"postgres@17"``.
        reasons: one line for each provider that was tried, ``"container: no Docker engine answers"``.
        remedy: what to do about it, in one line.
    """

    def __init__(self, wanted: str, reasons: Sequence[str], remedy: str) -> None:
        super().__init__(wanted, tuple(reasons), remedy)
        self.wanted = wanted
        self.reasons = tuple(reasons)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"no {self.wanted} server: {'; '.join(self.reasons)}. {self.remedy}"
