"""An operation that is done and compared: what came, against what the specification says must come."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn

from ..errors import VersionConflictError
from ..progress import AIProgress
from .narrative import ALL, Narrative, differences, said_error, said_given, said_name, said_record

__all__ = ["Comparison", "Disagreement"]


class Disagreement(AssertionError):
    """A storage ended an operation otherwise than the specification; the message is the sequence in words."""


class Comparison:
    """Does operations, tells of them, and fails where something else came than was expected.

    Args:
        narrative: what was done so far; each operation is added to it.
    """

    def __init__(self, narrative: Narrative) -> None:
        self.narrative = narrative

    def fail(self, expected: str, got: str, *more: str) -> NoReturn:
        """Fail with the whole sequence."""
        raise Disagreement(self.narrative.told([f"expected {expected}", f"got      {got}", *more]))

    def done(
        self,
        letter: str,
        said: str,
        call: Callable[[], Any],
        show: Callable[[Any], str] | None = None,
    ) -> Any:
        """Do an operation that must not raise; return what it returned.

        Args:
            letter: the client.
            said: the operation in words.
            call: does it.
            show: what it returned, in words.
        """
        raised: Exception | None = None
        try:
            returned = call()
        except Exception as error:
            raised = error
        if raised is not None:
            self.narrative.add(f"{letter}: {said} -> {said_error(raised)}")
            self.fail("no error", said_error(raised))
        self.narrative.add(f"{letter}: {said}" + (f" -> {show(returned)}" if show else ""))
        return returned

    def refused(
        self, letter: str, said: str, call: Callable[[], Any], kind: type[BaseException]
    ) -> BaseException:
        """Do an operation that must raise an error of this kind; return the error."""
        raised: Exception | None = None
        returned: object = None
        try:
            returned = call()
        except Exception as error:
            raised = error
        if raised is None:
            self.narrative.add(f"{letter}: {said} -> {said_record(returned)}")
            self.fail(kind.__name__, said_record(returned))
        shown = said_error(raised) if isinstance(raised, VersionConflictError) else type(raised).__name__
        self.narrative.add(f"{letter}: {said} -> {shown}")
        if not isinstance(raised, kind):
            self.fail(kind.__name__, said_error(raised))
        return raised

    def agree(self, wanted: AIProgress | None, got: object, what: str = "") -> None:
        """Fail unless a read gave this record, stamps included.

        Args:
            wanted: what is stored; None: nothing.
            got: what came.
            what: what it is, where the operation does not say.
        """
        if wanted is None or not isinstance(got, AIProgress):
            if wanted is not got:
                self.fail(f"{what}{said_record(wanted)}", said_record(got))
        elif lines := differences(wanted, got, ALL):
            self.fail(f"{what}{said_record(wanted)}", said_record(got), *lines)

    def agree_on_moments(self, before: AIProgress | None, ended: datetime | None, got: AIProgress) -> None:
        """Fail unless the moments of a write can be right; they are the storage's own choice.

        Args:
            before: the record that it replaced; None: there was none.
            ended: when the record was last updated that was there at an earlier time; None: there never was any.
            got: what the write returned.
        """
        created, updated = got.created_at, got.updated_at
        for field, moment in (("created_at", created), ("updated_at", updated)):
            if not isinstance(moment, datetime) or moment.utcoffset() != timedelta(0):
                self.fail(f"{field} in UTC", f"{field} {moment!r}")
        assert created is not None
        assert updated is not None
        if before is not None:
            assert before.updated_at is not None  # compared when it was written
            if created != before.created_at:
                self.fail(f"created_at as it was, {before.created_at}", f"created_at {created}")
            if updated < before.updated_at:
                self.fail(f"updated_at not before the last one, {before.updated_at}", f"updated_at {updated}")
            return
        if ended is not None and created < ended:
            self.fail(
                f"a created_at of its own: the record before it was last updated at {ended}",
                f"created_at {created}",
            )
        if updated < created:
            self.fail(f"updated_at not before created_at {created}", f"updated_at {updated}")

    def agree_on_raw(self, name: str, wanted: AIProgress | None, got: Mapping[str, Any] | None) -> None:
        """Fail unless what is stored of a model, read around the storage, is what was acknowledged.

        Args:
            name: the model.
            wanted: what was acknowledged; None: there is nothing.
            got: the fields that were read; None: nothing was found.
        """
        shown = "None" if got is None else said_given(got)
        if wanted is None or got is None:
            if (wanted is None) != (got is None):
                self.narrative.add(f"raw read of {said_name(name)} -> {shown}")
                self.fail(f"raw: {said_record(wanted)}", shown)
        elif lines := differences(wanted, dataclasses.replace(wanted, **got), got):
            self.narrative.add(f"raw read of {said_name(name)} -> {shown}")
            self.fail(f"raw: {said_record(wanted)}", shown, *lines)
