"""close, and what is left afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ...capabilities import Capability
from ...errors import StorageUnavailableError
from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from .checks import check_names, check_same, check_unchanged, found, shown
from .clients import Clients, ContractBase, inapplicable, requires
from .describing import health_of

__all__ = ["ClosingContract"]

_M = AIProgress(model_name="m", mse=0.5, metadata={"k": [1, 1.0]})


class ClosingContract(ContractBase):
    """``close``, the context manager, and survival."""

    area = "close and reuse"

    def test_close_is_idempotent(self, storage: AIStorage) -> None:
        """A storage may be closed any number of times, used or not."""
        storage.save_progress(_M)
        for _ in range(3):
            storage.close()

    def test_unused_client_can_be_closed(self, clients: Clients) -> None:
        """A client that was opened and never used closes without an error."""
        for _ in range(2):
            clients.open().close()

    def test_operations_after_close_raise(self, storage: AIStorage, clients: Clients) -> None:
        """After close every operation raises StorageUnavailableError."""
        storage.save_progress(_M)
        storage.close()
        operations: dict[str, Callable[[], Any]] = {
            "save_progress": lambda: storage.save_progress(_M),
            "save_many": lambda: storage.save_many([_M]),
            "get_progress": lambda: storage.get_progress("m"),
            "load_progress": lambda: storage.load_progress(),
            "iter_progress": lambda: list(storage.iter_progress()),
            "update_progress": lambda: storage.update_progress("m", lambda _: _M),
            "delete_progress": lambda: storage.delete_progress("m"),
            "query_progress": lambda: storage.query_progress(ProgressQuery()),
            "get_storage_info": lambda: storage.get_storage_info(),
        }
        if Capability.EXPIRY in clients.capabilities:
            operations["expire_now"] = lambda: storage.expire_now("m")
        wrong = []
        for name, operation in operations.items():
            try:
                result = operation()
            except StorageUnavailableError:
                continue
            except Exception as error:
                wrong.append(f"{name} after close: raised {type(error).__name__}: {error}")
            else:
                wrong.append(
                    f"{name} after close: returned {shown(result)}, expected StorageUnavailableError"
                )
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)

    def test_iteration_does_not_end_early_at_a_close(self, storage: AIStorage) -> None:
        """An iteration that is caught by close raises, or yields all the same: a part is never taken for all."""
        names = [f"m{index:02}" for index in range(20)]
        storage.save_many(AIProgress(model_name=name, mse=0.5) for name in names)
        records = storage.iter_progress(batch_size=1)
        seen = [next(records)]
        storage.close()
        try:
            seen += records
        except StorageUnavailableError:
            return
        check_names(
            "iter_progress(batch_size=1), closed behind the first of 20, and gone on with", names, seen
        )

    def test_health_check_is_false_after_close(self, storage: AIStorage) -> None:
        """health_check of a closed storage is False, and does not raise; it does not hang either."""
        storage.close()
        healthy = health_of(storage, "a closed storage")
        assert healthy is False, f"health_check of a closed storage returned {healthy!r}, expected False"

    def test_close_leaves_other_clients_alone(self, storage: AIStorage, clients: Clients) -> None:
        """Closing one client breaks no other client of the same store."""
        before = storage.save_progress(_M)
        for _ in range(2):
            sibling = clients.open()
            found(sibling, "m", "opening a second client")
            sibling.close()
        done = "closing two other clients"
        check_unchanged(storage, before, done)
        assert storage.health_check() is True, f"health_check after {done}"
        assert storage.save_progress(_M).version == 2, f"a save after {done}"

    def test_with_block_closes(self, clients: Clients) -> None:
        """A storage is a context manager: it gives itself, closes at the end, and lets exceptions through."""
        storage = clients.open()
        if not hasattr(storage, "__enter__"):
            inapplicable("the storage is no context manager, which its callers would need")
        with storage as entered:
            assert entered is storage, (
                f"`with storage as entered` gives {entered!r}, expected the storage itself"
            )
            storage.save_progress(_M)
        with pytest.raises(StorageUnavailableError):
            storage.get_progress("m")
        other = clients.open()
        error = LookupError("mine")
        try:
            with other:
                raise error
        except LookupError as caught:
            if caught is not error:
                pytest.fail(
                    f"the with block raised {caught!r} instead of the very same object", pytrace=False
                )
        else:
            pytest.fail("the with block swallowed an exception", pytrace=False)
        assert other.health_check() is False, "a with block that was left by an exception did not close"

    @requires(Capability.SURVIVES_CLOSE)
    def test_records_survive_the_last_close(self, storage: AIStorage, clients: Clients) -> None:
        """Records are still there, stamps and all, after every client has closed."""
        saved = storage.save_progress(_M)
        storage.close()
        got = clients.open().get_progress("m")
        check_same("save, close, open, get_progress", saved, got, stamps=True)
