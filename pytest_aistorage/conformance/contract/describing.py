"""health_check and get_storage_info."""

from __future__ import annotations

import queue
import re
import threading

import pytest

from ...progress import AIProgress, StorageInfo
from ...storage import AIStorage
from .checks import check_names
from .clients import Clients, ContractBase

__all__ = ["DescribingContract"]

# user:password@ in a URL, the stars that stand for one apart; password=… in a URL's query or a DSN.
_SECRET = re.compile(r"://[^/\s:@]*:(?!\*+@)[^/\s@]+@|(?i:passw(or)?d|pwd)=(?!\*)[^&\s]+")


_PATIENCE = 30.0  # seconds; a storage's own timeout is 5 by default


def health_of(storage: AIStorage, which: str) -> object:
    """Return what health_check returns; fail if it raises, or does not return."""
    told: queue.Queue[object] = queue.Queue()

    def ask() -> None:
        try:
            told.put(storage.health_check())
        except BaseException as error:
            told.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        healthy = told.get(timeout=_PATIENCE)
    except queue.Empty:
        pytest.fail(f"health_check of {which} did not return within {_PATIENCE:g} s", pytrace=False)
    if isinstance(healthy, BaseException):
        pytest.fail(f"health_check of {which} raised {healthy!r}: it never raises", pytrace=False)
    return healthy


class DescribingContract(ContractBase):
    """What a storage says of itself."""

    area = "health and info"

    def test_health_check_is_true(self, storage: AIStorage) -> None:
        """health_check of an open storage is True, before the first record and after; it does not hang."""
        healthy = health_of(storage, "an empty store")
        assert healthy is True, f"health_check of an empty store returned {healthy!r}, expected True"
        storage.save_progress(AIProgress(model_name="m", mse=0.5))
        healthy = health_of(storage, "a store with a record")
        assert healthy is True, f"health_check of a store with a record returned {healthy!r}, expected True"

    def test_health_and_info_leave_nothing_behind(self, storage: AIStorage) -> None:
        """A probe of health_check or get_storage_info is no model: neither listed nor counted."""
        for done in ("health_check", "get_storage_info"):
            getattr(storage, done)()
            check_names(f"load_progress after {done}", [], storage.load_progress())
            check_names(f"iter_progress after {done}", [], storage.iter_progress())
            count = storage.get_storage_info().model_count
            assert count == 0, f"model_count of an empty store after {done}: {count}"

    def test_info_describes_the_storage(self, storage: AIStorage, clients: Clients) -> None:
        """get_storage_info gives type, server, location, the latency of a ping and the capabilities."""
        info = storage.get_storage_info()
        assert isinstance(info, StorageInfo), f"get_storage_info returned {info!r}"
        assert info.type == storage.type, f"type: expected {storage.type!r}, got {info.type!r}"
        for field in ("type", "server", "location"):
            value = getattr(info, field)
            assert isinstance(value, str), f"{field}: expected a str, got {value!r}"
            assert value, f"{field} is empty"
        assert isinstance(info.latency, float), f"latency: expected seconds, got {info.latency!r}"
        assert 0 <= info.latency < 60, f"latency: expected seconds, got {info.latency!r}"

    def test_info_tells_the_declared_capabilities(self, storage: AIStorage, clients: Clients) -> None:
        """The capabilities in get_storage_info are those that the storage declares to its tests."""
        told = storage.get_storage_info().capabilities
        assert isinstance(told, frozenset), f"capabilities: expected a frozenset, got {told!r}"
        assert told == clients.capabilities, (
            f"get_storage_info tells {sorted(c.name for c in told)}, "
            f"declared are {sorted(c.name for c in clients.capabilities)}"
        )

    def test_info_counts_models(self, storage: AIStorage, clients: Clients) -> None:
        """model_count is the number of models with a record, now, whoever wrote them."""
        other = clients.open()
        steps = [("an empty store", 0, storage.get_storage_info().model_count)]
        storage.save_many(AIProgress(model_name=name, mse=0.5) for name in "abc")
        steps.append(("a batch of three", 3, storage.get_storage_info().model_count))
        storage.save_progress(AIProgress(model_name="a", mse=0.25))
        steps.append(("a second save of one", 3, storage.get_storage_info().model_count))
        storage.delete_progress("b")
        steps.append(("a delete", 2, storage.get_storage_info().model_count))
        other.save_progress(AIProgress(model_name="d", mse=0.5))
        steps.append(("a save by another client", 3, storage.get_storage_info().model_count))
        storage.update_progress("e", lambda _: AIProgress(model_name="e", mse=0.5))
        steps.append(("an update of a new model", 4, storage.get_storage_info().model_count))
        other.delete_progress("a")
        steps.append(("a delete by another client", 3, storage.get_storage_info().model_count))
        for done, wanted, got in steps:
            assert type(got) is int, f"model_count after {done}: expected an int, got {got!r}"
            assert got == wanted, f"model_count after {done}: expected {wanted}, got {got}"

    def test_no_password_is_shown(self, storage: AIStorage) -> None:
        """Neither the repr nor the info of a storage shows a password, nor does the error of a closed one."""
        shown = {
            "repr": repr(storage),
            "str": str(storage),
            "get_storage_info": repr(storage.get_storage_info()),
        }
        storage.close()
        shown["repr after close"] = repr(storage)
        try:
            storage.get_progress("m")
        except Exception as error:
            shown["the error after close"] = f"{error!r} {error}"
        for where, text in shown.items():
            assert not _SECRET.search(text), f"{where} shows a password"
