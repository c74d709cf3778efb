"""Faults in batches, beyond those of the updates."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from pytest_aistorage import AIProgress

from .delegating import Delegating, turns_red


class Batching(Delegating):
    """Has the batch in its hands before it is saved, if it is one."""

    def batch(self, progresses: list[Any]) -> list[AIProgress]:
        """Save a batch."""
        return super().save_many(progresses)

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, AIProgress) or not isinstance(progresses, Iterable):
            return super().save_many(progresses)
        return self.batch(list(progresses))


@turns_red("batch_leaves_other_models_alone")
class BatchIsTheWholeStore(Batching):
    """A batch takes the place of everything that was there."""

    def batch(self, progresses: list[Any]) -> list[AIProgress]:
        saved = super().batch(progresses)
        if len(saved) > 1:
            names = {record.model_name for record in saved}
            for record in self.inner.load_progress():
                if record.model_name not in names:
                    self.inner.delete_progress(record.model_name)
        return saved


@turns_red("records_of_a_batch_keep_their_own_values")
class BatchRepeatsTheValueBefore(Batching):
    """One statement for all: where a record has no accuracy, the parameter of the one before is still bound."""

    def batch(self, progresses: list[Any]) -> list[AIProgress]:
        bound, records = None, []
        for progress in progresses:
            if isinstance(progress, AIProgress) and progress.accuracy is None and bound is not None:
                records.append(dataclasses.replace(progress, accuracy=bound))
            else:
                bound = getattr(progress, "accuracy", None)
                records.append(progress)
        return super().batch(records)


@turns_red("batch_of_many_records_is_stored_whole")
class BatchOfAThousand(Batching):
    """What is behind the first thousand is acknowledged only."""

    def batch(self, progresses: list[Any]) -> list[AIProgress]:
        saved: Sequence[AIProgress] = super().batch(progresses)
        for record in saved[1000:]:
            self.inner.delete_progress(record.model_name)
        return list(saved)


@turns_red("batch_whose_iterable_raises_is_not_written")
class ErrorEndsTheBatch(Delegating):
    """What the caller's iterable raises is taken for its end."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, AIProgress) or not isinstance(progresses, Iterable):
            return super().save_many(progresses)
        records = []
        try:
            for progress in progresses:
                records.append(progress)  # what came before the error is kept
        except LookupError:
            pass
        return super().save_many(records)


@turns_red("batch_with_a_model_twice_is_refused")
class EqualTwiceIsOnce(Batching):
    """Equal records are stored once."""

    def batch(self, progresses: list[Any]) -> list[AIProgress]:
        once: list[Any] = []
        for progress in progresses:
            if progress not in once:
                once.append(progress)
        return super().batch(once)


@turns_red("batches_count_versions_like_saves")
class NewModelsMoveTheOthersCreatedAt(Batching):
    """A batch with a new model in it shows the time of the batch as created_at of all of them."""

    def batch(self, progresses: list[Any]) -> list[AIProgress]:
        saved = super().batch(progresses)
        if not any(record.version == 1 for record in saved):
            return saved
        return [dataclasses.replace(record, created_at=record.updated_at) for record in saved]
