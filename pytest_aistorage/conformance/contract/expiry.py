"""Expiry: what a time to live does, and that it is refused where it is not declared."""

from __future__ import annotations

import dataclasses
import time
from datetime import timedelta
from typing import Any

import pytest

from ...capabilities import Capability
from ...errors import InvalidProgressError, UnsupportedOperationError, VersionConflictError
from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from .checks import check_names, check_same, found, refused
from .clients import ContractBase, requires

__all__ = ["ExpiryContract"]

_M = AIProgress(model_name="m", mse=0.5)
_HOUR = timedelta(hours=1)
_SHORT = timedelta(milliseconds=50)
_PATIENCE = 10.0  # seconds until a record that should have expired is one that doesn't


_STAYED = f"a record saved with ttl={_SHORT} is still there after {_PATIENCE:g} s"


def _gone(storage: AIStorage, model_name: str) -> bool:
    """Wait for a record to expire; say whether it did."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if storage.get_progress(model_name) is None:
            return True
        time.sleep(0.002)
    return False


class ExpiryContract(ContractBase):
    """``ttl`` and ``expire_now``."""

    area = "expiry"

    @requires(unless=Capability.EXPIRY)
    def test_ttl_is_refused(self, storage: AIStorage) -> None:
        """Where EXPIRY is not declared, a save with ttl raises UnsupportedOperationError and writes nothing."""
        with refused(UnsupportedOperationError, "save_progress(ttl=1 h) without EXPIRY"):
            storage.save_progress(_M, ttl=_HOUR)
        assert storage.get_progress("m") is None, (
            "save_progress with a ttl was refused, and wrote all the same"
        )

    @requires(unless=Capability.EXPIRY)
    def test_expire_now_is_refused(self, storage: AIStorage) -> None:
        """Where EXPIRY is not declared, expire_now raises UnsupportedOperationError and the record stays."""
        if not hasattr(storage, "expire_now"):
            pytest.skip("not applicable: the storage has no expire_now, which only EXPIRY asks for")
        storage.save_progress(_M)
        with refused(UnsupportedOperationError, "expire_now without EXPIRY"):
            storage.expire_now("m")
        found(storage, "m", "expire_now, refused")

    @requires(Capability.EXPIRY)
    def test_record_expires_when_its_time_is_over(self, storage: AIStorage) -> None:
        """A record with a time to live is gone when it is over."""
        storage.save_progress(_M, ttl=_SHORT)
        assert _gone(storage, "m"), f"a record saved with ttl={_SHORT} is still there after {_PATIENCE:g} s"

    @requires(Capability.EXPIRY)
    def test_record_stays_until_its_time_is_over(self, storage: AIStorage) -> None:
        """A record with an hour to live is there after another has expired."""
        storage.save_progress(_M, ttl=_HOUR)
        storage.save_progress(dataclasses.replace(_M, model_name="short"), ttl=_SHORT)
        assert _gone(storage, "short"), _STAYED
        check_same("save_progress(ttl=1 h), after some 50 ms", _M, storage.get_progress("m"))
        check_names("load_progress", ["m"], storage.load_progress())

    @requires(Capability.EXPIRY)
    def test_expired_record_is_nowhere(self, storage: AIStorage) -> None:
        """An expired record is gone from get, listing, iteration, query and count."""
        storage.save_many([_M, dataclasses.replace(_M, model_name="n")])
        storage.expire_now("m")
        assert storage.get_progress("m") is None, "get_progress found an expired record"
        for batch_size in (1, 1000):
            check_names("iter_progress after expiry", ["n"], storage.iter_progress(batch_size=batch_size))
        check_names("load_progress after expiry", ["n"], storage.load_progress())
        check_names("query_progress after expiry", ["n"], storage.query_progress(ProgressQuery()))
        count = storage.get_storage_info().model_count
        assert count == 1, f"model_count is {count} after one of two records has expired"

    @requires(Capability.EXPIRY)
    def test_expire_now_says_whether_there_was_a_record(self, storage: AIStorage) -> None:
        """expire_now returns True for a record and False for none."""
        assert storage.expire_now("m") is False, "expire_now of a model that was never saved"
        storage.save_progress(_M)
        assert storage.expire_now("m") is True, "expire_now of a record"
        assert storage.expire_now("m") is False, "expire_now of an expired record"
        storage.save_progress(_M)
        storage.delete_progress("m")
        assert storage.expire_now("m") is False, "expire_now of a deleted record"

    @requires(Capability.EXPIRY, Capability.VERSIONS_NEVER_REUSED)
    def test_versions_go_on_after_expiry(self, storage: AIStorage) -> None:
        """An expiry takes one version, counted at the next change; a second delete or expiry takes none."""
        storage.save_progress(_M)
        storage.expire_now("m")
        storage.expire_now("m")
        storage.delete_progress("m")
        version = storage.save_progress(_M).version
        assert version == 3, f"save (1), expiry (2), save: expected version 3, got {version}"
        storage.expire_now("m")
        version = storage.save_many([_M])[0].version
        assert version == 5, f"expiry (4), save_many: expected version 5, got {version}"
        storage.expire_now("m")
        version = storage.update_progress("m", lambda _: _M).version
        assert version == 7, f"expiry (6), update_progress: expected version 7, got {version}"

    @requires(Capability.EXPIRY)
    def test_expired_record_is_absent_to_compare_and_set(self, storage: AIStorage) -> None:
        """To a compare-and-set and a delete an expired record does not exist."""
        storage.save_progress(_M)
        storage.expire_now("m")
        with refused(VersionConflictError, "save with expected_version=1 after expiry") as caught:
            storage.save_progress(_M, expected_version=1)
        assert caught[0].actual == 0, f"the conflict reports version {caught[0].actual} of an expired record"
        assert storage.delete_progress("m") is None, "delete_progress of an expired record"
        storage.save_progress(_M, expected_version=0)
        check_same("save with expected_version=0 after expiry", _M, storage.get_progress("m"))

    @requires(Capability.EXPIRY)
    def test_expired_record_is_none_to_a_change(self, storage: AIStorage) -> None:
        """The change of an expired record gets None, and its result has a created_at of its own."""
        storage.save_progress(_M)
        storage.expire_now("m")
        seen: list[AIProgress | None] = []

        def change(current: AIProgress | None) -> AIProgress:
            seen.append(current)
            return _M

        storage.update_progress("m", change)
        assert seen == [None] * len(seen), f"the change of an expired record got {seen!r}"
        check_same("update_progress after expiry", _M, storage.get_progress("m"))

    @requires(Capability.EXPIRY)
    def test_save_without_ttl_lets_the_record_stay(self, storage: AIStorage) -> None:
        """A save without ttl replaces the time to live, too: the record no longer expires."""
        short = dataclasses.replace(_M, model_name="short")
        for way in ("save_progress", "save_many"):
            storage.save_progress(_M, ttl=_SHORT)
            if way == "save_progress":
                storage.save_progress(_M)
            else:
                storage.save_many([_M])
            # Saved later and with more time to live: when it has expired, so would the other have.
            storage.save_progress(short, ttl=2 * _SHORT)
            assert _gone(storage, "short"), _STAYED
            found(storage, "m", f"save_progress(ttl={_SHORT}), then {way} without ttl, then that time")

    @requires(Capability.EXPIRY)
    def test_update_keeps_the_time_to_live(self, storage: AIStorage) -> None:
        """update_progress leaves the time to live as it was: the record still expires."""
        for ttl in (_SHORT, 4 * _SHORT, 16 * _SHORT, 64 * _SHORT):
            storage.save_progress(_M, ttl=ttl)
            seen: list[AIProgress | None] = []

            def change(current: AIProgress | None, met: list[AIProgress | None] = seen) -> AIProgress:
                met.append(current)
                return dataclasses.replace(_M, mse=0.25)

            storage.update_progress("m", change)
            if seen and seen[-1] is not None:
                break
            # The machine was busy, and the record expired before its update: again, with more time.
        else:
            pytest.fail(
                f"saved with ttl={ttl}, then update_progress: the change got no record", pytrace=False
            )
        assert _gone(storage, "m"), f"a record saved with ttl={ttl} and then updated did not expire"

    @requires(Capability.EXPIRY)
    def test_update_does_not_shorten_the_time_to_live(self, storage: AIStorage) -> None:
        """update_progress does not make a record expire that had time left, or had no time to live."""
        storage.save_progress(_M, ttl=_HOUR)
        storage.save_progress(dataclasses.replace(_M, model_name="forever"))
        for name in ("m", "forever"):
            storage.update_progress(name, lambda current: current or _M)
        storage.save_progress(dataclasses.replace(_M, model_name="short"), ttl=_SHORT)
        assert _gone(storage, "short"), _STAYED
        for name in ("m", "forever"):
            found(storage, name, "update_progress, and 50 ms")

    @requires(Capability.EXPIRY)
    def test_bad_ttl_is_refused(self, storage: AIStorage) -> None:
        """A time to live that is no timedelta from 1 ms up raises InvalidProgressError; nothing is written."""
        bad: list[Any] = [
            timedelta(0),
            timedelta(seconds=-1),
            timedelta(microseconds=1),
            timedelta.max,
            60,
            1.5,
            "1h",
        ]
        for ttl in bad:
            done = f"save_progress(ttl={ttl!r})"
            with refused(InvalidProgressError, done) as caught:
                storage.save_progress(_M, ttl=ttl)
            if (caught[0].field, caught[0].value) != ("ttl", ttl):
                pytest.fail(
                    f"{done}: the error names {caught[0].field!r}, {caught[0].value!r}", pytrace=False
                )
            assert storage.get_progress("m") is None, f"{done} was refused, and wrote the record all the same"
