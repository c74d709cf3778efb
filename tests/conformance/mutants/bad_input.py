"""Faults in what is refused."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from pytest_aistorage import (
    AIProgress,
    InvalidProgressError,
)

from .delegating import Change, Delegating, turns_red


def _accepting(field: str, instead: Any) -> type[Delegating]:
    """A storage that does not refuse bad values of one field."""

    def mended(self: Delegating, progress: Any, error: InvalidProgressError) -> Any:
        return dataclasses.replace(progress, **{field: instead}) if error.field == field else progress

    name = "Accepts" + field.title().replace("_", "")
    body = {"mended": mended, "__doc__": f"Bad values of {field} are stored as {instead!r}."}
    return type(name, (Delegating,), body)


_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)

for _field, _instead, *_tests in (
    ("model_name", "bad", "bad_model_name_is_refused"),
    ("mse", 0.0, "bad_mse_is_refused"),
    ("accuracy", None, "bad_accuracy_is_refused"),
    ("cross_validation_score", None, "bad_cross_validation_score_is_refused"),
    ("training_samples", 0, "bad_training_samples_are_refused"),
    ("training_start", _MOMENT, "bad_training_start_is_refused"),
    ("training_end", _MOMENT, "bad_training_end_is_refused"),
    ("metadata", {}, "bad_metadata_is_refused", "metadata_nested_too_deep_is_refused"),
):
    turns_red(*_tests)(_accepting(_field, _instead))


@turns_red("bad_mse_is_refused", "bad_metadata_is_refused")
class RefusesWithValueError(Delegating):
    """Bad input is a ValueError: one of the language's, or of a driver."""

    def mended(self, progress: AIProgress, error: InvalidProgressError) -> AIProgress:
        raise ValueError(str(error))


@turns_red("bad_metadata_is_refused")
class NamesTheWholeMetadata(Delegating):
    """The error shows all of the metadata instead of what is wrong in it."""

    def mended(self, progress: AIProgress, error: InvalidProgressError) -> AIProgress:
        raise InvalidProgressError(error.field, progress, error.reason)


@turns_red("metadata_nested_too_deep_is_refused")
class RecursesTooDeep(Delegating):
    """The check of deep metadata ends in a RecursionError."""

    def mended(self, progress: AIProgress, error: InvalidProgressError) -> AIProgress:
        if "levels" in error.reason:
            raise RecursionError("maximum recursion depth exceeded")
        return progress


@turns_red("bad_accuracy_is_refused")
class WritesBeforeItRefuses(Delegating):
    """The record is written up to the bad field."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        try:
            return super().save_progress(progress, **options)
        except InvalidProgressError as error:
            if error.field == "accuracy":
                self.inner.save_progress(dataclasses.replace(progress, accuracy=None))
            raise


@turns_red("what_is_no_record_is_refused")
class TakesDicts(Delegating):
    """A dict will do."""

    def save_progress(self, progress: Any, **options: Any) -> AIProgress:
        if isinstance(progress, dict):
            progress = AIProgress(**progress)
        return super().save_progress(progress, **options)


@turns_red("bad_expected_version_is_refused")
class BadVersionIsNone(Delegating):
    """A version that can't be is none."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: Any = None, **options: Any
    ) -> AIProgress:
        if not isinstance(expected_version, int) or expected_version < 0:
            expected_version = None
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red("bad_name_is_refused_by_every_operation")
class BadNameIsAbsent(Delegating):
    """A model by a name that can't be is one that is not there."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        try:
            return super().get_progress(model_name)
        except InvalidProgressError:
            return None


@turns_red("change_must_be_callable")
class NoChangeIsNoUpdate(Delegating):
    """An update without a change returns the record."""

    def update_progress(self, model_name: str, change: Change | None) -> AIProgress:
        return super().update_progress(model_name, change or (lambda current: current))


@turns_red("bad_mse_is_refused")
class RefusalTakesAVersion(Delegating):
    """The version is counted up before the record is looked at."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        try:
            return super().save_progress(progress, **options)
        except InvalidProgressError as error:
            if error.field == "mse":
                self.bumped = True
            raise

    bumped = False

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, version=record.version + 1) if self.bumped else record


@turns_red("bad_name_is_refused_by_every_operation")
class BadNameNeverExpires(Delegating):
    """expire_now of what can be no name says that there is no such record."""

    def expire_now(self, model_name: str) -> bool:
        try:
            return super().expire_now(model_name)
        except InvalidProgressError:
            return False
