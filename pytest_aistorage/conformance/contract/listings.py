"""load_progress and iter_progress: all records, in order, whatever others write."""

from __future__ import annotations

import tracemalloc
from typing import Any

from hypothesis import strategies as st

from ...capabilities import Capability
from ...errors import InvalidProgressError
from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from .. import strategies
from .checks import check_names, check_same, explore, refused, writing
from .clients import Clients, ContractBase, requires

__all__ = ["ListingContract"]


def _saved(storage: AIStorage, *names: str) -> list[str]:
    """Save models, and return their names in code point order."""
    storage.save_many(AIProgress(model_name=name, mse=float(index)) for index, name in enumerate(names))
    return sorted(names)


class ListingContract(ContractBase):
    """``load_progress`` and ``iter_progress``."""

    area = "listing"

    def test_empty_store_lists_nothing(self, storage: AIStorage) -> None:
        """A store without records lists none."""
        assert storage.load_progress() == [], "load_progress of an empty store"
        assert list(storage.iter_progress()) == [], "iter_progress of an empty store"

    def test_listing_is_ordered_by_code_point(self, storage: AIStorage) -> None:
        """Listing and iteration go by name in code point order, whatever the server's locale."""
        names = _saved(storage, *reversed(strategies.TRICKY_NAMES))
        check_names("load_progress", names, storage.load_progress())
        for batch_size in (1, 3, 1000):
            done = f"iter_progress(batch_size={batch_size})"
            check_names(done, names, storage.iter_progress(batch_size=batch_size))

    def test_any_names_are_listed_in_order(self, storage: AIStorage) -> None:
        """Whatever the names, each is listed once and in code point order, for every batch size."""

        def check(names: list[str], batch_size: int) -> None:
            wanted = _saved(storage, *names)
            check_names("load_progress", wanted, storage.load_progress())
            check_names(
                f"iter_progress(batch_size={batch_size})",
                wanted,
                storage.iter_progress(batch_size=batch_size),
            )
            for name in names:
                storage.delete_progress(name)

        several = st.lists(strategies.names(), min_size=1, max_size=6, unique=True)
        explore(check, several, st.integers(1, 7), share=0.8)

    def test_iteration_yields_each_once_for_every_batch_size(self, storage: AIStorage) -> None:
        """Iteration yields each model once where the number is below, at and beyond the batch size."""
        names = _saved(storage, *(f"m{index:03}" for index in range(24)))
        for batch_size in (1, 2, 5, 8, 12, 23, 24, 25, 2**31 - 1, 2**31, 2**63, 10**30):
            done = f"iter_progress(batch_size={batch_size}) of {len(names)} models"
            check_names(done, names, storage.iter_progress(batch_size=batch_size))

    def test_listing_of_many_models_is_complete(self, storage: AIStorage) -> None:
        """More models than one batch of any backend are all listed, and counted."""
        names = _saved(storage, *(f"m{index * 2654435761 % 2**32:08x}" for index in range(2003)))
        # Some come back later, so that no order of insertion is the order of the names.
        for name in names[::400]:
            storage.delete_progress(name)
            _saved(storage, name)
        check_names("load_progress of 2003 models", names, storage.load_progress())
        check_names("query_progress of 2003 models", names, storage.query_progress(ProgressQuery()))
        check_names(
            "query_progress(limit=1500) of 2003 models",
            names[:1500],
            storage.query_progress(ProgressQuery(limit=1500)),
        )
        for batch_size in (100, 1000, 2002, 2003):
            done = f"iter_progress(batch_size={batch_size}) of 2003 models"
            check_names(done, names, storage.iter_progress(batch_size=batch_size))
        check_names("iter_progress() of 2003 models", names, storage.iter_progress())
        count = storage.get_storage_info().model_count
        assert count == 2003, f"get_storage_info of 2003 models: model_count is {count}"

    def test_bad_batch_size_is_refused(self, storage: AIStorage) -> None:
        """A batch size that is no int from 1 up is refused at the call, not with the first record."""
        _saved(storage, "m")
        sizes: list[Any] = [0, -1, 1.5, "10", None, True]
        for size in sizes:
            done = f"iter_progress(batch_size={size!r})"
            with refused(InvalidProgressError, done) as caught:
                storage.iter_progress(batch_size=size)
            assert (caught[0].field, caught[0].value) == ("batch_size", size), f"{done}: {caught[0]}"

    def test_iteration_while_others_write(self, storage: AIStorage, clients: Clients) -> None:
        """A model that is there throughout is yielded exactly once while others come, change and go."""
        names = _saved(storage, *(f"m{index:02}" for index in range(20)))
        doomed = [*names[0:20:5], names[19]]
        writer = clients.open()
        seen = []
        for number, record in enumerate(storage.iter_progress(batch_size=3)):
            seen.append(record.model_name)
            if number < 5:
                writer.delete_progress(doomed[number])
                if number > 1:  # a model that was yielded comes back with a new life
                    writer.delete_progress(seen[1])
                    writer.save_progress(AIProgress(model_name=seen[1], mse=0.5))
                writer.save_progress(
                    AIProgress(model_name=f"a{number}", mse=0.5)
                )  # before the iteration's place
                writer.save_progress(AIProgress(model_name=f"m{number:02}x", mse=0.5))
                writer.save_progress(AIProgress(model_name=names[18 - number], mse=99.0))
        throughout = [name for name in names if name not in doomed]
        counts = {name: seen.count(name) for name in throughout if seen.count(name) != 1}
        assert not counts, f"models that were there throughout, and how often each was yielded: {counts}"
        assert len(seen) == len(set(seen)), f"yielded twice: {sorted(n for n in seen if seen.count(n) > 1)}"
        assert seen == sorted(seen), f"yielded out of order: {seen}"

    def test_iteration_goes_on_where_its_last_record_is_deleted(self, storage: AIStorage) -> None:
        """Whoever deletes each model that an iteration yields meets all of them."""
        for batch_size in (1, 2, 3, 7, 1000):
            names = _saved(storage, *(f"m{index}" for index in range(7)))
            done = f"iter_progress(batch_size={batch_size}), where each record is deleted once it was yielded"
            seen = []
            for record in storage.iter_progress(batch_size=batch_size):
                assert record is not None, f"{done}: yielded None"
                seen.append(record)
                storage.delete_progress(record.model_name)
            check_names(done, names, seen)
            check_names(f"load_progress after {done}", [], storage.load_progress())

    def test_iterations_do_not_share_their_place(self, storage: AIStorage, clients: Clients) -> None:
        """Several iterations at once, of one client or of two, each yield every model once."""
        names = _saved(storage, *(f"m{index}" for index in range(7)))
        iterations = [
            storage.iter_progress(batch_size=2),
            storage.iter_progress(batch_size=3),
            clients.open().iter_progress(batch_size=2),
        ]
        seen: list[list[AIProgress]] = [[] for _ in iterations]
        for _ in names:
            for records, yielded in zip(iterations, seen, strict=True):
                if (record := next(records, None)) is not None:
                    yielded.append(record)
        for number, yielded in enumerate(seen, start=1):
            check_names(f"iteration {number} of three in turns", names, yielded)

    def test_iteration_cut_short_leaves_nothing_behind(self, storage: AIStorage, clients: Clients) -> None:
        """Iterations that are left in the middle hinder neither the next one nor a write."""
        names = _saved(storage, *(f"m{index}" for index in range(5)))
        for _ in range(40):  # more than a pool of connections holds
            check_names("the first of an iteration", names[:1], [next(storage.iter_progress(batch_size=2))])
        check_names("iter_progress after 40 that were cut short", names, storage.iter_progress(batch_size=2))
        clients.open().delete_progress(names[0])
        check_names("load_progress after a delete", names[1:], storage.load_progress())

    # What declares no more than a file may have to read it whole; it says nothing of who is serialized how.
    @requires(Capability.LINEARIZABLE, evidence_for=())
    def test_iteration_is_in_bounded_memory(self, storage: AIStorage) -> None:
        """Iterating over many large records in small batches holds some of them at a time, not all."""
        count, length = 60, 4000
        size = 8 * length  # bytes of a list of that length; its items are ints that Python holds only once
        for first in range(0, count, 10):
            storage.save_many(
                AIProgress(model_name=f"m{index:03}", mse=0.5, metadata={"log": [index] * length})
                for index in range(first, first + 10)
            )
        running = tracemalloc.is_tracing()
        if not running:
            tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            seen = sum(1 for _ in storage.iter_progress(batch_size=2))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            if not running:
                tracemalloc.stop()
        assert seen == count, f"iter_progress(batch_size=2) of {count} models yielded {seen}"
        # A batch of two, as text, as what it is parsed to and as copies, takes a tenth of this.
        assert peak - before < count * size / 2, (
            f"iter_progress(batch_size=2) of {count} records, each with a list of {size} bytes, held "
            f"{peak - before} bytes at once: expected less than half of what they have together, {count * size}"
        )

    def test_unfinished_iteration_hinders_nobody(self, storage: AIStorage, clients: Clients) -> None:
        """Between batches no transaction is open: others write, and the same client too."""
        names = _saved(storage, *(f"m{index}" for index in range(6)))
        records = storage.iter_progress(batch_size=2)
        first = next(records)
        check_names("the first of iter_progress", names[:1], [first])
        for client in (clients.open(), storage):
            client.save_progress(AIProgress(model_name=names[1], mse=1.0))
            client.update_progress(names[5], lambda current: current or AIProgress(model_name="m5", mse=0.0))
            client.delete_progress(names[0])
        check_names("the rest of the iteration", names[1:], records)

    def test_listing_leaves_out_nothing_that_was_saved_before(
        self, storage: AIStorage, clients: Clients
    ) -> None:
        """A listing that begins after a save returns it."""
        reader = clients.open()
        for number in range(10):
            progress = AIProgress(model_name=f"m{number}", mse=float(number))
            storage.save_progress(progress)
            listed = {record.model_name: record for record in reader.load_progress()}
            check_same(f"load_progress right after save {number}", progress, listed.get(f"m{number}"))

    @requires(Capability.SNAPSHOT_LISTING)
    def test_listing_is_one_moment(self, storage: AIStorage, clients: Clients) -> None:
        """A listing taken while others write shows what was stored at one moment."""
        # The writer counts m0 up, then m9: at every moment m0 is at most one ahead.
        storage.save_many(AIProgress(model_name=f"m{index}", mse=0.0) for index in range(10))
        reader = clients.open()

        def write(number: int) -> None:
            for name in ("m0", "m9"):
                storage.save_progress(AIProgress(model_name=name, mse=float(number)))

        with writing(write) as writes:
            for _ in writes.overlapped():
                seen = {record.model_name: record.mse for record in reader.load_progress()}
                assert seen["m0"] - seen["m9"] in (0.0, 1.0), (
                    "m0 and m9 are counted up in turns, m0 first; "
                    f"one listing saw m0 at {seen['m0']} and m9 at {seen['m9']}"
                )
