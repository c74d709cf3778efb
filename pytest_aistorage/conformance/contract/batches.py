"""save_many: a batch of records in one operation."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...capabilities import Capability
from ...errors import InvalidProgressError
from ...progress import AIProgress
from ...storage import AIStorage
from .checks import check_names, check_same, check_unchanged, found, refused, writing
from .clients import Clients, ContractBase, requires

__all__ = ["BatchContract"]

_NAMES = ("b", "a", "ä", "c", "B", "a ")


def _batch(mse: float = 0.5, names: tuple[str, ...] = _NAMES) -> list[AIProgress]:
    return [
        AIProgress(model_name=name, mse=mse, training_samples=index, metadata={"index": index})
        for index, name in enumerate(names)
    ]


class BatchContract(ContractBase):
    """``save_many``."""

    area = "batches"

    def test_batch_is_stored_whole(self, storage: AIStorage) -> None:
        """Every record of a batch is stored, new ones and known ones alike."""
        storage.save_progress(AIProgress(model_name="a", mse=9.0))
        batch = _batch()
        storage.save_many(batch)
        for progress in batch:
            check_same(
                f"save_many of {len(batch)} records",
                progress,
                found(storage, progress.model_name, "save_many"),
            )
        check_names("load_progress after save_many", sorted(_NAMES), storage.load_progress())

    def test_batch_results_keep_the_order_of_the_input(self, storage: AIStorage) -> None:
        """save_many returns the stored records, stamps included, in the order of the input."""
        storage.save_progress(AIProgress(model_name="c", mse=9.0))
        saved = storage.save_many(_batch())
        check_names("save_many", _NAMES, saved)
        for record in saved:
            check_same(
                "get_progress after save_many", record, storage.get_progress(record.model_name), stamps=True
            )
        versions = {record.model_name: record.version for record in saved}
        assert versions == {name: 2 if name == "c" else 1 for name in _NAMES}, f"versions: {versions}"

    def test_empty_batch_is_nothing(self, storage: AIStorage) -> None:
        """save_many of nothing returns an empty list and changes nothing."""
        got = storage.save_many([])
        assert got == [], f"save_many([]) returned {got!r}"
        check_names("load_progress after save_many([])", [], storage.load_progress())

    def test_batch_may_be_any_iterable(self, storage: AIStorage) -> None:
        """save_many takes a generator or a tuple as well as a list."""
        check_names("save_many(generator)", _NAMES, storage.save_many(progress for progress in _batch()))
        check_names("save_many(tuple)", _NAMES, storage.save_many(tuple(_batch())))

    def test_batch_with_a_model_twice_is_refused(self, storage: AIStorage) -> None:
        """The same model twice in a batch raises InvalidProgressError; nothing is written."""
        before = storage.save_progress(AIProgress(model_name="a", mse=9.0))
        done = "save_many of 'b', 'a', 'b'"
        with refused(InvalidProgressError, done) as caught:
            storage.save_many(_batch(names=("b", "a", "b")))
        assert (caught[0].field, caught[0].value) == ("model_name", "b"), f"{done}: {caught[0]}"
        check_unchanged(storage, before, done)
        assert storage.get_progress("b") is None, f"{done} wrote a part of it"

    def test_batch_with_a_bad_record_is_refused(self, storage: AIStorage) -> None:
        """One bad record, even the last, keeps the whole batch from being written."""
        before = storage.save_progress(AIProgress(model_name="a", mse=9.0))
        bad: list[Any] = [AIProgress(model_name="bad", mse=float("nan")), None, {"model_name": "bad"}]
        for progress in bad:
            done = f"save_many whose last record is {progress!r}"
            with refused(InvalidProgressError, done):
                storage.save_many([*_batch(), progress])
            check_unchanged(storage, before, done)
            check_names(f"load_progress after {done}", ["a"], storage.load_progress())

    def test_batch_must_be_iterable(self, storage: AIStorage) -> None:
        """What is no iterable of records raises InvalidProgressError."""
        given: list[Any] = [None, 1, AIProgress(model_name="a", mse=0.5)]
        for progresses in given:
            with refused(InvalidProgressError, f"save_many({progresses!r})"):
                storage.save_many(progresses)

    @requires(Capability.ATOMIC_BATCH, Capability.SNAPSHOT_LISTING)
    def test_nobody_sees_a_part_of_a_batch(self, storage: AIStorage, clients: Clients) -> None:
        """A listing taken while batches are written shows each of them whole or not at all."""
        names = tuple(f"m{index}" for index in range(8))
        storage.save_many(_batch(0.0, names))
        reader = clients.open()
        with writing(lambda number: storage.save_many(_batch(float(number), names))) as writes:
            for _ in writes.overlapped():
                seen = {record.model_name: record.mse for record in reader.load_progress()}
                assert set(seen) == set(names), (
                    f"expected the models {names}, load_progress saw {sorted(seen)}"
                )
                assert len(set(seen.values())) == 1, (
                    f"batches give all models the same mse, and load_progress while they are written saw {seen}"
                )

    def test_batches_count_versions_like_saves(self, storage: AIStorage) -> None:
        """Batch after batch, each model takes the next version, and updated_at does not decrease."""
        before: dict[str, AIProgress] = {}
        for version in (1, 2, 3):
            saved = storage.save_many(dataclasses.replace(p, mse=float(version)) for p in _batch())
            for record in saved:
                assert record.version == version, (
                    f"batch {version} gave {record.model_name!r} {record.version}"
                )
                if earlier := before.get(record.model_name):
                    assert record.created_at == earlier.created_at, "a batch moved created_at"
                before[record.model_name] = record
