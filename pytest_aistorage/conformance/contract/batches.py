"""save_many: a batch of records in one operation."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ...capabilities import Capability
from ...errors import InvalidProgressError
from ...progress import AIProgress
from ...storage import AIStorage
from .checks import check_names, check_same, check_unchanged, moment, refused, shown, writing
from .clients import Clients, ContractBase, requires
from .ways import check_read

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
        check_read(storage, batch, "save_many of six records, among them")
        check_names("load_progress after save_many", sorted(_NAMES), storage.load_progress())

    def test_batch_leaves_other_models_alone(self, storage: AIStorage) -> None:
        """A batch touches the models that it names, and no other."""
        bystanders = [
            storage.save_progress(AIProgress(model_name=name, mse=9.0)) for name in ("A", "zz", "b ")
        ]
        for batch in (_batch(), _batch(names=("b",)), _batch(mse=0.25)):
            storage.save_many(batch)
            for bystander in bystanders:
                done = f"save_many of {[p.model_name for p in batch]}"
                check_unchanged(storage, bystander, done, promise="which must leave this one alone")
        wanted = sorted((*_NAMES, "A", "zz", "b "))
        check_names("load_progress after three batches", wanted, storage.load_progress())

    def test_records_of_a_batch_keep_their_own_values(self, storage: AIStorage) -> None:
        """Records of one batch that have values where others have none are not mixed up, in either order."""
        moment = datetime(2024, 5, 1, 12, 0, 0, 1, tzinfo=UTC)
        full = AIProgress(
            model_name="full",
            mse=0.25,
            accuracy=0.75,
            cross_validation_score=0.5,
            training_samples=10,
            training_start=moment,
            training_end=moment,
            metadata={"k": [1]},
        )
        bare = AIProgress(model_name="bare", mse=0.5)
        for order in ((full, bare), (bare, full), (bare, full, bare, full, full, bare)):
            batch = [
                dataclasses.replace(progress, model_name=f"{index} {progress.model_name}")
                for index, progress in enumerate(order)
            ]
            for _ in range(2):
                saved = storage.save_many(batch)
                for progress, record in zip(batch, saved, strict=True):
                    check_same(f"save_many of {[p.model_name for p in batch]} returned", progress, record)
                check_read(storage, batch, f"save_many of {len(batch)} records, among them")

    def test_batch_of_many_records_is_stored_whole(self, storage: AIStorage) -> None:
        """A batch of more records than one statement of any server takes is stored whole, in its order."""
        names = tuple(f"m{index * 2654435761 % 2**32:08x}" for index in range(2003))
        for version in (1, 2):
            saved = storage.save_many(_batch(float(version), names))
            check_names(f"save_many of {len(names)} records", names, saved)
            versions = {record.version for record in saved}
            assert versions == {version}, f"batch {version} of {len(names)} records gave versions {versions}"
        kept = storage.load_progress()
        check_names(f"load_progress after save_many of {len(names)} records", sorted(names), kept)
        for record in kept:
            wanted = AIProgress(
                model_name=record.model_name,
                mse=2.0,
                training_samples=(index := names.index(record.model_name)),
                metadata={"index": index},
            )
            check_same(f"save_many of {len(names)} records, then load_progress", wanted, record)

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
        """save_many takes a generator, a tuple, a view or a queue as well as a list; a generator runs once."""
        kinds: dict[str, Callable[[list[AIProgress]], Iterable[AIProgress]]] = {
            "generator": lambda batch: (progress for progress in batch),
            "map": lambda batch: map(dataclasses.replace, batch),
            "tuple": tuple,
            "deque": deque,
            "values of a dict": lambda batch: dict(enumerate(batch)).values(),
            "keys of a dict": lambda batch: dict.fromkeys(batch),
        }
        for version, (kind, made) in enumerate(kinds.items(), start=1):
            done = f"save_many({kind})"
            saved = storage.save_many(made(_batch(float(version))))
            check_names(done, _NAMES, saved)
            stored = storage.load_progress()
            assert [record.mse for record in stored] == [float(version)] * len(_NAMES), (
                f"{done}, then load_progress: {[(record.model_name, record.mse) for record in stored]}"
            )

    def test_batch_whose_iterable_raises_is_not_written(self, storage: AIStorage) -> None:
        """Where the caller's own iterable raises, that comes out, and nothing of the batch is written."""
        before = storage.save_progress(AIProgress(model_name="a", mse=9.0))
        error = LookupError("mine")

        def records() -> Iterator[AIProgress]:
            yield from _batch()
            raise error

        done = "save_many of a generator that yields six records and raises LookupError"
        try:
            returned = storage.save_many(records())
        except Exception as caught:
            if error not in (caught, caught.__cause__):
                pytest.fail(f"{done}: raised {caught!r}, which says nothing of it", pytrace=False)
        else:
            pytest.fail(f"{done}: raised nothing and returned {shown(returned)}", pytrace=False)
        check_unchanged(storage, before, done)
        check_names(f"load_progress after {done}", ["a"], storage.load_progress())

    def test_batch_with_a_model_twice_is_refused(self, storage: AIStorage) -> None:
        """The same model twice in a batch raises InvalidProgressError; nothing is written."""
        before = storage.save_progress(AIProgress(model_name="a", mse=9.0))
        same = AIProgress(model_name="b", mse=0.5)
        batches = {
            "'b', 'a', 'b'": _batch(names=("b", "a", "b")),
            "the same 'b' twice": [same, same],
            "two equal 'b' and 'a' between": [same, _batch(names=("a",))[0], dataclasses.replace(same)],
        }
        for what, batch in batches.items():
            done = f"save_many of {what}"
            with refused(InvalidProgressError, done) as caught:
                storage.save_many(batch)
            assert (caught[0].field, caught[0].value) == ("model_name", "b"), (
                f"{done}: expected an error of model_name 'b', got {caught[0].field!r}, {caught[0].value!r}"
            )
            check_unchanged(storage, before, done)
            check_names(f"load_progress after {done}", ["a"], storage.load_progress())
        version = storage.save_progress(same).version
        assert version == 1, f"batches that were refused, then the first save: version {version}, expected 1"

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
        for number in (1, 2, 3):
            # From batch to batch a model is new among known ones, first and last.
            names = (f"first {number}", *_NAMES, f"last {number}")
            saved = storage.save_many(_batch(float(number), names))
            stored = {record.model_name: record for record in storage.load_progress()}
            for record in saved:
                name = record.model_name
                version = number if name in _NAMES else 1
                done = f"batch {number} of {names}, of which {list(_NAMES)} came {number} times: {name!r}"
                assert record.version == version, f"{done}: expected version {version}, got {record.version}"
                check_same(f"{done} in load_progress", record, stored.get(name), stamps=True)
                if earlier := before.get(name):
                    assert record.created_at == earlier.created_at, (
                        f"{done}: created_at moved from {earlier.created_at} to {record.created_at}"
                    )
                    assert moment(record, "updated_at") >= moment(earlier, "updated_at"), (
                        f"{done}: updated_at was set back from {earlier.updated_at} to {record.updated_at}"
                    )
                before[name] = record
