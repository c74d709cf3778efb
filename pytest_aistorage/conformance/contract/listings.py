"""load_progress and iter_progress: all records, in order, whatever others write."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ...capabilities import Capability
from ...errors import InvalidProgressError
from ...progress import AIProgress
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
        for batch_size in (1, 2, 5, 8, 12, 23, 24, 25, 10**9):
            done = f"iter_progress(batch_size={batch_size}) of {len(names)} models"
            check_names(done, names, storage.iter_progress(batch_size=batch_size))

    def test_listing_of_many_models_is_complete(self, storage: AIStorage) -> None:
        """More models than one batch of any backend are all listed."""
        names = _saved(storage, *(f"m{index:05}" for index in range(1001)))
        check_names("load_progress of 1001 models", names, storage.load_progress())
        check_names("iter_progress of 1001 models", names, storage.iter_progress())

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
