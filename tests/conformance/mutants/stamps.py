"""Faults in versions and stamps that only certain numbers, or other models, show."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_aistorage import AIProgress

from .delegating import Change, Delegating, turns_red


@turns_red("versions_go_on_through_hundreds_of_changes")
class VersionsOfAByte(Delegating):
    """TINYINT: behind 127 the versions begin anew."""

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, version=(record.version - 1) % 127 + 1)


@turns_red("first_version_is_one")
class ReadsMakeAPlace(Delegating):
    """A get of what is not there leaves an empty row behind, which counts as a version."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._asked: set[str] = set()

    def get_progress(self, model_name: str) -> AIProgress | None:
        record = super().get_progress(model_name)
        if record is None:
            self._asked.add(model_name)
        return record

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, version=record.version + (record.model_name in self._asked))


@turns_red("a_change_leaves_the_stamps_of_other_models_alone")
class UpdateWithoutWhere(Delegating):
    """The statement that stamps a record stamps all of them."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        saved = super().update_progress(model_name, change)
        for record in self.inner.load_progress():
            if record.model_name != model_name:
                self.inner.save_progress(record)
        return saved


@turns_red("other_version_conflicts")
class ComparesOneByte(Delegating):
    """The expected version goes through a byte."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if type(expected_version) is int and expected_version > 255:
            expected_version %= 256
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red("clients_take_turns")
class DeletesWhatItHasRead(Delegating):
    """A delete compares the expected version with what this client read last."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._read: dict[str, int] = {}

    def get_progress(self, model_name: str) -> AIProgress | None:
        record = super().get_progress(model_name)
        if record is not None:
            self._read[model_name] = record.version
        return record

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        known = expected_version and self._read.get(model_name) == expected_version
        return super().delete_progress(model_name, expected_version=None if known else expected_version)
