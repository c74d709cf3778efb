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
from .checks import check_names, check_same, found, moment, refused
from .clients import Clients, ContractBase, inapplicable, requires
from .ways import WAYS_IN, given_to_change

__all__ = ["ExpiryContract"]

_M = AIProgress(model_name="m", mse=0.5)
_HOUR = timedelta(hours=1)
_SHORT = timedelta(milliseconds=50)
_PATIENCE = 10.0  # seconds until a record that should have expired is one that doesn't


_STAYED = f"a record saved with ttl={_SHORT} is still there after {_PATIENCE:g} s"


_LONGER_AND_LONGER = (_SHORT, 4 * _SHORT, 16 * _SHORT, 64 * _SHORT)


def _wait_for_an_expiry(storage: AIStorage, ttl: timedelta = _SHORT) -> None:
    """Return when a record has expired that is saved now: so has whatever was saved with that ttl earlier."""
    begun = time.monotonic()
    storage.save_progress(dataclasses.replace(_M, model_name="hourglass"), ttl=ttl)
    assert _gone(storage, "hourglass"), _STAYED
    took = time.monotonic() - begun
    # A storage may count in another clock; one that counts in another unit is off by more than half.
    assert took > ttl.total_seconds() / 2, f"a record saved with ttl={ttl} was gone after {took:.6f} s"


def _gone(storage: AIStorage, model_name: str) -> bool:
    """Wait for a record to expire; say whether it did."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if storage.get_progress(model_name) is None:
            return True
        time.sleep(0.002)
    return False


class _Expired(Exception):
    """Raised by a change that meets no record any more."""


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
            inapplicable("the storage has no expire_now, which only EXPIRY asks for")
        storage.save_progress(_M)
        with refused(UnsupportedOperationError, "expire_now without EXPIRY"):
            storage.expire_now("m")
        found(storage, "m", "expire_now, refused")

    @requires(Capability.EXPIRY)
    def test_record_expires_when_its_time_is_over(self, storage: AIStorage, clients: Clients) -> None:
        """A record with a time to live is gone when it is over, and not much earlier."""
        _wait_for_an_expiry(storage)
        storage.save_progress(_M, ttl=4 * _SHORT)
        for _ in range(3):  # who opens, closes, reads or writes other models does not extend it
            other = clients.open()
            other.save_progress(dataclasses.replace(_M, model_name="n"))
            other.get_progress("m")
            other.load_progress()
            other.close()
        assert _gone(storage, "m"), f"saved with ttl={4 * _SHORT}, then another client opened: still there"

    @requires(Capability.EXPIRY)
    def test_record_stays_until_its_time_is_over(self, storage: AIStorage) -> None:
        """A record with an hour to live is there after another has expired."""
        lived = {
            "30 s": timedelta(seconds=30),  # in a thousandth of it the other expires
            "1 h": _HOUR,
            "1 day": timedelta(days=1),
            "31 days": timedelta(days=31),  # some servers take more than 30 for a date
            "2**31 ms": timedelta(milliseconds=2**31 + 1),
            "2**32 ms": timedelta(milliseconds=2**32 + 1),
            "2**31 s": timedelta(seconds=2**31 + 1),
            "100 years": timedelta(days=36525),
        }
        for name, ttl in lived.items():
            storage.save_progress(dataclasses.replace(_M, model_name=name), ttl=ttl)
        _wait_for_an_expiry(storage)
        for name in lived:
            done = f"save_progress(ttl={name}), after some 50 ms"
            check_same(done, dataclasses.replace(_M, model_name=name), storage.get_progress(name))
        check_names("load_progress", sorted(lived), storage.load_progress())

    @requires(Capability.EXPIRY)
    def test_save_replaces_the_time_to_live(self, storage: AIStorage) -> None:
        """A save with another ttl replaces the first one, be it longer or shorter; a compare-and-set too."""
        for expected, which in ((None, "save"), (1, "compare-and-set")):
            shorter = dataclasses.replace(_M, model_name=f"{which}, shorter")
            storage.save_progress(shorter, ttl=_HOUR)
            storage.save_progress(shorter, ttl=_SHORT, expected_version=expected)
            first = dataclasses.replace(_M, model_name=f"{which}, the first")
            storage.save_progress(first)
            storage.save_progress(first, ttl=_SHORT, expected_version=expected)
            for name, before in ((shorter.model_name, "ttl=1 h"), (first.model_name, "no ttl")):
                assert _gone(storage, name), f"saved with {before}, then {which} with ttl={_SHORT}: {_STAYED}"
            for ttl in _LONGER_AND_LONGER:
                longer = dataclasses.replace(_M, model_name=f"{which}, longer than {ttl}")
                storage.save_progress(longer, ttl=ttl)
                try:
                    storage.save_progress(longer, ttl=_HOUR, expected_version=expected)
                except VersionConflictError as conflict:
                    if conflict.actual != 0:
                        raise
                    continue  # the machine was busy, and the first had expired: again, with more time
                _wait_for_an_expiry(storage, ttl)
                found(
                    storage, longer.model_name, f"saved with ttl={ttl}, then {which} with ttl=1 h, then {ttl}"
                )
                break

    @requires(Capability.EXPIRY)
    def test_refused_change_leaves_the_time_to_live(self, storage: AIStorage) -> None:
        """A conflict, and an update whose change raises, neither end, extend nor shorten the time to live."""
        doomed, lasting = (dataclasses.replace(_M, model_name=name) for name in ("doomed", "lasting"))
        storage.save_progress(doomed, ttl=4 * _SHORT)
        storage.save_progress(lasting, ttl=_HOUR)
        for progress, ttl in ((doomed, _HOUR), (doomed, None), (lasting, _SHORT)):
            with refused(VersionConflictError, f"save with ttl={ttl} and expected_version=7 of version 1"):
                storage.save_progress(progress, ttl=ttl, expected_version=7)
            with refused(VersionConflictError, "delete with expected_version=7 of version 1"):
                storage.delete_progress(progress.model_name, expected_version=7)
            given_to_change(storage, progress.model_name)
        assert _gone(storage, "doomed"), (
            f"saved with ttl={4 * _SHORT}, then conflicts and an update that raised: still there"
        )
        _wait_for_an_expiry(storage)
        found(storage, "lasting", f"saved with ttl=1 h, then a conflict of a save with ttl={_SHORT}")

    @requires(Capability.EXPIRY)
    def test_reborn_record_does_not_inherit_a_time_to_live(self, storage: AIStorage) -> None:
        """A model that comes back after a delete or an expiry stays, by each way to save."""
        for way, saved_by in WAYS_IN.items():
            deleted, expired = (f"{way} after {what}" for what in ("a delete", "an expiry"))
            for name in (deleted, expired):
                storage.save_progress(dataclasses.replace(_M, model_name=name), ttl=_SHORT)
            storage.delete_progress(deleted)
            saved_by(storage, dataclasses.replace(_M, model_name=deleted))
            assert _gone(storage, expired), _STAYED
            saved_by(storage, dataclasses.replace(_M, model_name=expired))
            _wait_for_an_expiry(storage)
            for name in (deleted, expired):
                found(
                    storage,
                    name,
                    f"a model saved with ttl={_SHORT}, then without one by {name}, then {_SHORT}",
                )

    @requires(Capability.EXPIRY)
    def test_expired_record_is_nowhere(self, storage: AIStorage) -> None:
        """An expired record is gone from get, listing, iteration, query and count; the others stay."""
        storage.save_many([_M, dataclasses.replace(_M, model_name="n")])
        storage.save_progress(dataclasses.replace(_M, model_name="o"), ttl=_HOUR)
        storage.save_progress(dataclasses.replace(_M, model_name="short"), ttl=_SHORT)
        storage.expire_now("m")
        _wait_for_an_expiry(storage)
        # Nobody has asked for the expired ones yet: a get might clear up behind them.
        left = ["n", "o"]
        count = storage.get_storage_info().model_count
        assert count == 2, f"model_count is {count} after three of five records have expired"
        for batch_size in (1, 1000):
            check_names("iter_progress after expiry", left, storage.iter_progress(batch_size=batch_size))
        check_names("load_progress after expiry", left, storage.load_progress())
        check_names("query_progress after expiry", left, storage.query_progress(ProgressQuery()))
        check_names("query_progress after expiry", left, storage.query_progress(ProgressQuery(max_mse=1.0)))
        check_names(
            "query_progress after expiry", left, storage.query_progress(ProgressQuery(order_by="-mse"))
        )
        for name in ("m", "short"):
            given = given_to_change(storage, name)
            assert given is None, f"the change of the expired record {name!r} got {given!r}"
            got = storage.get_progress(name)
            assert got is None, f"get_progress found the expired record {name!r}: {got!r}"

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
        taken = storage.save_progress(_M).version
        for reads in (False, True):
            for way, saved_by in WAYS_IN.items():
                storage.expire_now("m")
                done = f"expiry of version {taken}, {way}"
                if reads:
                    storage.expire_now("m")
                    storage.get_progress("m")
                    storage.load_progress()
                    storage.get_storage_info()
                    assert storage.delete_progress("m") is None, "delete_progress of an expired record"
                    assert given_to_change(storage, "m") is None, "the change of an expired record got one"
                    done = f"expiry of version {taken}, reads, a delete, an update that raised, {way}"
                version = saved_by(storage, _M).version
                assert version == taken + 2, f"{done}: expected version {taken + 2}, got {version}"
                taken = version

    @requires(Capability.EXPIRY)
    def test_expired_record_is_absent_to_compare_and_set(self, storage: AIStorage) -> None:
        """To a compare-and-set and a delete an expired record does not exist."""

        def expired(name: str) -> AIProgress:
            progress = dataclasses.replace(_M, model_name=name)
            storage.save_progress(progress)
            storage.expire_now(name)
            return progress

        created = expired("created")
        storage.save_progress(created, expected_version=0)
        check_same("save with expected_version=0 after expiry", created, storage.get_progress("created"))
        for expected in (1, 2):
            compared, deleted = expired(f"compared {expected}"), expired(f"deleted {expected}")
            done = f"save with expected_version={expected} after the expiry of version 1"
            with refused(VersionConflictError, done) as caught:
                storage.save_progress(compared, expected_version=expected)
            assert caught[0].actual == 0, f"{done}: the conflict reports version {caught[0].actual}"
            done = f"delete with expected_version={expected} after the expiry of version 1"
            with refused(VersionConflictError, done) as caught:
                storage.delete_progress(deleted.model_name, expected_version=expected)
            assert caught[0].actual == 0, f"{done}: the conflict reports version {caught[0].actual}"
        for expected_version in (None, 0):
            name = expired(f"deleted with {expected_version}").model_name
            taken = storage.delete_progress(name, expected_version=expected_version)
            assert taken is None, (
                f"delete_progress(expected_version={expected_version}) of an expired record returned {taken!r}"
            )

    @requires(Capability.EXPIRY)
    def test_created_at_is_new_after_expiry(self, storage: AIStorage) -> None:
        """A model that comes back after its expiry has a created_at of its own, by each way to save."""
        for way, saved_by in WAYS_IN.items():
            first = storage.save_progress(_M)
            created = moment(first, "created_at")
            for _ in range(2000):  # until the storage's clock has moved on
                if (
                    moment(storage.save_progress(dataclasses.replace(_M, model_name="clock")), "updated_at")
                    > created
                ):
                    break
            storage.expire_now("m")
            reborn = saved_by(storage, _M)
            assert moment(reborn, "created_at") > created, (
                f"save, expiry, {way}: the reborn record kept created_at {created}"
            )

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
        for ttl in _LONGER_AND_LONGER:
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
    def test_updates_do_not_extend_the_time_to_live(self, storage: AIStorage) -> None:
        """A record that is updated over and over expires when its time is over all the same."""
        ttl = 4 * _SHORT
        storage.save_progress(_M, ttl=ttl)
        begun = time.monotonic()

        def change(current: AIProgress | None) -> AIProgress:
            if current is None:
                raise _Expired
            return dataclasses.replace(_M, mse=current.mse + 1)

        # Were it renewed, only a machine that stood still for the whole of the ttl could let it expire here.
        try:
            while (passed := time.monotonic() - begun) < 5 * ttl.total_seconds():
                storage.update_progress("m", change)
                time.sleep(0.002)
        except _Expired:
            return
        pytest.fail(
            f"saved with ttl={ttl}, and updated over and over: still there after {passed:.1f} s",
            pytrace=False,
        )

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
