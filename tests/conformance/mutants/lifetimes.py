"""Faults in expiry, bad input, closing and what a storage says of itself."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pytest_aistorage import (
    AIProgress,
    InvalidProgressError,
    StorageInfo,
    StorageUnavailableError,
    UnsupportedOperationError,
    VersionConflictError,
)

from .delegating import Change, Delegating, turns_red

_TICK = timedelta(milliseconds=1)


@turns_red("ttl_is_refused")
class IgnoresTtlSilently(Delegating):
    """A storage without expiry that takes a time to live, and forgets it."""

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        return super().save_progress(progress, **options)


@turns_red("expire_now_is_refused")
class ExpireNowDoesNothing(Delegating):
    """A storage without expiry whose expire_now says that there was nothing to expire."""

    def expire_now(self, model_name: str) -> bool:
        try:
            return super().expire_now(model_name)
        except UnsupportedOperationError:
            return False


@turns_red("record_stays_until_its_time_is_over")
class ExpiresEagerly(Delegating):
    """Seconds are taken for milliseconds."""

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        return super().save_progress(progress, ttl=ttl and min(ttl, _TICK), **options)


class RemembersExpired(Delegating):
    """Knows the records that were made to expire."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.expired: dict[str, AIProgress] = {}

    def expire_now(self, model_name: str) -> bool:
        record = self.inner.get_progress(model_name)
        if record is not None:
            self.expired[model_name] = record
        return super().expire_now(model_name)


@turns_red("expired_record_is_nowhere")
class ListsTheExpired(RemembersExpired):
    """Only a get looks at the time."""

    def load_progress(self) -> list[AIProgress]:
        records = {**self.expired, **{record.model_name: record for record in super().load_progress()}}
        return [records[name] for name in sorted(records)]


@turns_red("expired_record_is_nowhere")
class CountsTheExpired(RemembersExpired):
    """The count is the index's, which still has the names."""

    def get_storage_info(self) -> StorageInfo:
        info = super().get_storage_info()
        return dataclasses.replace(info, model_count=info.model_count + len(self.expired))


@turns_red("expired_record_is_nowhere")
class IteratesOverTheExpired(RemembersExpired):
    """An iteration yields what has expired."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        records = list(super().iter_progress(batch_size=batch_size))
        return iter(sorted([*records, *self.expired.values()], key=lambda record: record.model_name))


@turns_red("expire_now_says_whether_there_was_a_record")
class ExpireNowIsAlwaysTrue(Delegating):
    """expire_now does not look."""

    def expire_now(self, model_name: str) -> bool:
        super().expire_now(model_name)
        return True


@turns_red("versions_go_on_after_expiry")
class ExpiryTakesNoVersion(RemembersExpired):
    """A model that expired comes back with the version after its last."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._expiries = 0

    def expire_now(self, model_name: str) -> bool:
        existed = super().expire_now(model_name)
        self._expiries += existed
        return existed

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, version=record.version - self._expiries)


@turns_red("versions_go_on_after_expiry")
class VersionsRestartAfterExpiry(ExpiryTakesNoVersion):
    """The version expires with its record."""

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, version=1) if self._expiries else record


@turns_red("expired_record_is_absent_to_compare_and_set")
class ExpiredRecordStillConflicts(RemembersExpired):
    """A compare-and-set meets the version of the record that has expired."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        old = self.expired.get(progress.model_name)
        if old is not None and expected_version == old.version:
            expected_version = 0
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red("expired_record_is_none_to_a_change")
class ChangeGetsTheExpired(RemembersExpired):
    """The change of an expired record gets it."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        if not callable(change):
            return super().update_progress(model_name, change)
        return super().update_progress(
            model_name, lambda current: change(current or self.expired.get(model_name))
        )


@turns_red("record_expires_when_its_time_is_over")
class NeverExpires(Delegating):
    """A time to live is kept, and not obeyed."""

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        saved = super().save_progress(progress, ttl=ttl, **options)
        return saved if ttl is None else super().save_progress(progress)


@turns_red("save_without_ttl_lets_the_record_stay")
class TtlStaysWithTheModel(Delegating):
    """A save without a time to live leaves the one that was there."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ttls: dict[str, timedelta] = {}

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        if isinstance(ttl, timedelta):
            self._ttls[progress.model_name] = ttl
        elif ttl is None and isinstance(progress, AIProgress):
            ttl = self._ttls.get(progress.model_name)
        return super().save_progress(progress, ttl=ttl, **options)


@turns_red("update_keeps_the_time_to_live")
class UpdateClearsTtl(Delegating):
    """Redis' SET without KEEPTTL."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        return self.inner.save_progress(super().update_progress(model_name, change))


@turns_red("update_does_not_shorten_the_time_to_live")
class UpdateSetsATtl(Delegating):
    """An update gives every record the time to live of a cache."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        return self.inner.save_progress(super().update_progress(model_name, change), ttl=_TICK)


@turns_red("bad_ttl_is_refused")
class BadTtlIsNone(Delegating):
    """A time to live that can't be is none."""

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        good = isinstance(ttl, timedelta) and ttl > timedelta(0)
        return super().save_progress(progress, ttl=ttl if good else None, **options)


# -- bad input ----------------------------------------------------------------------------------------------


def _accepting(field: str, instead: Any) -> type[Delegating]:
    """A storage that does not refuse bad values of one field."""

    def mended(self: Delegating, progress: Any, error: InvalidProgressError) -> Any:
        return dataclasses.replace(progress, **{field: instead}) if error.field == field else progress

    name = "Accepts" + field.title().replace("_", "")
    body = {"mended": mended, "__doc__": f"Bad values of {field} are stored as {instead!r}."}
    return type(name, (Delegating,), body)


_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)

for _field, _instead, *_tests in (
    ("model_name", "bad", "bad_model_name_is_refused"),
    ("mse", 0.0, "bad_mse_is_refused"),
    ("accuracy", None, "bad_accuracy_is_refused"),
    ("cross_validation_score", None, "bad_cross_validation_score_is_refused"),
    ("training_samples", 0, "bad_training_samples_are_refused"),
    ("training_start", _MOMENT, "bad_training_start_is_refused"),
    ("training_end", _MOMENT, "bad_training_end_is_refused"),
    ("metadata", {}, "bad_metadata_is_refused", "metadata_nested_too_deep_is_refused"),
):
    turns_red(*_tests)(_accepting(_field, _instead))


@turns_red("bad_mse_is_refused", "bad_metadata_is_refused")
class RefusesWithValueError(Delegating):
    """Bad input is a ValueError: one of the language's, or of a driver."""

    def mended(self, progress: AIProgress, error: InvalidProgressError) -> AIProgress:
        raise ValueError(str(error))


@turns_red("bad_metadata_is_refused")
class NamesTheWholeMetadata(Delegating):
    """The error shows all of the metadata instead of what is wrong in it."""

    def mended(self, progress: AIProgress, error: InvalidProgressError) -> AIProgress:
        raise InvalidProgressError(error.field, progress, error.reason)


@turns_red("metadata_nested_too_deep_is_refused")
class RecursesTooDeep(Delegating):
    """The check of deep metadata ends in a RecursionError."""

    def mended(self, progress: AIProgress, error: InvalidProgressError) -> AIProgress:
        if "levels" in error.reason:
            raise RecursionError("maximum recursion depth exceeded")
        return progress


@turns_red("bad_accuracy_is_refused")
class WritesBeforeItRefuses(Delegating):
    """The record is written up to the bad field."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        try:
            return super().save_progress(progress, **options)
        except InvalidProgressError as error:
            if error.field == "accuracy":
                self.inner.save_progress(dataclasses.replace(progress, accuracy=None))
            raise


@turns_red("what_is_no_record_is_refused")
class TakesDicts(Delegating):
    """A dict will do."""

    def save_progress(self, progress: Any, **options: Any) -> AIProgress:
        if isinstance(progress, dict):
            progress = AIProgress(**progress)
        return super().save_progress(progress, **options)


@turns_red("bad_expected_version_is_refused")
class BadVersionIsNone(Delegating):
    """A version that can't be is none."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: Any = None, **options: Any
    ) -> AIProgress:
        if not isinstance(expected_version, int) or expected_version < 0:
            expected_version = None
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red("bad_name_is_refused_by_every_operation")
class BadNameIsAbsent(Delegating):
    """A model by a name that can't be is one that is not there."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        try:
            return super().get_progress(model_name)
        except InvalidProgressError:
            return None


@turns_red("change_must_be_callable")
class NoChangeIsNoUpdate(Delegating):
    """An update without a change returns the record."""

    def update_progress(self, model_name: str, change: Change | None) -> AIProgress:
        return super().update_progress(model_name, change or (lambda current: current))


# -- closing ------------------------------------------------------------------------------------------------


class Counting(Delegating):
    """Counts how often it was closed."""

    closes = 0

    def close(self) -> None:
        super().close()
        self.closes += 1


@turns_red("close_is_idempotent", by=(StorageUnavailableError,))
class SecondCloseRaises(Counting):
    """A second close meets a closed connection."""

    def close(self) -> None:
        if self.closes:
            raise StorageUnavailableError("already closed")
        super().close()


@turns_red("unused_client_can_be_closed", by=(RuntimeError,))
class UnusedCloseRaises(Delegating):
    """Connects lazily, and closes what it never opened."""

    _used = False

    def taken(self, progress: Any) -> Any:
        self._used = True
        return super().taken(progress)

    def close(self) -> None:
        super().close()
        if not self._used:
            raise RuntimeError("not connected")


@turns_red("operations_after_close_raise", "with_block_closes")
class CloseDoesNothing(Delegating):
    """A closed storage goes on as if nothing had been."""

    def close(self) -> None:
        pass


@turns_red("operations_after_close_raise")
class DriverErrorAfterClose(Delegating):
    """What the driver says of its closed connection comes out as it is."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        try:
            return super().get_progress(model_name)
        except StorageUnavailableError as error:
            raise ConnectionResetError("closed") from error


@turns_red("health_check_is_false_after_close")
class HealthLies(Delegating):
    """The health check asks nobody."""

    def health_check(self) -> bool:
        return True


@turns_red("health_check_is_false_after_close", by=(StorageUnavailableError,))
class HealthRaises(Delegating):
    """The health check of a storage that does not answer raises."""

    def health_check(self) -> bool:
        if not super().health_check():
            raise StorageUnavailableError("no answer")
        return True


@turns_red("close_leaves_other_clients_alone", by=(StorageUnavailableError,))
class CloseBreaksSiblings(Delegating):
    """All clients share a connection, and who closes first closes it for all."""

    _clients: ClassVar[list[CloseBreaksSiblings]] = []

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._clients.append(self)

    def close(self) -> None:
        for client in self._clients:
            if client.url == self.url:
                client.inner.close()


@turns_red("with_block_closes")
class WithSwallows(Delegating):
    """A with block lets no exception through."""

    def __exit__(self, *_: object) -> bool | None:
        self.close()
        return True


@turns_red("records_survive_the_last_close")
class CloseEmpties(Delegating):
    """What is stored goes with the client."""

    def close(self) -> None:
        if self.inner.health_check():
            for record in self.inner.load_progress():
                self.inner.delete_progress(record.model_name)
        super().close()


# -- what a storage says of itself --------------------------------------------------------------------------


@turns_red("health_check_is_true")
class EmptyIsIll(Delegating):
    """A store without tables is taken for one that does not answer."""

    def health_check(self) -> bool:
        return super().health_check() and bool(self.inner.load_progress())


class Telling(Delegating):
    """Tells something wrong of itself."""

    tells: ClassVar[dict[str, Any]]

    def get_storage_info(self) -> StorageInfo:
        return dataclasses.replace(super().get_storage_info(), **self.tells)


@turns_red("info_describes_the_storage")
class LatencyMissing(Telling):
    """No ping is taken."""

    tells: ClassVar[dict[str, Any]] = {"latency": None}


@turns_red("info_describes_the_storage")
class AnotherType(Telling):
    """A wrapper that tells the type of what it wraps."""

    tells: ClassVar[dict[str, Any]] = {"type": "memory"}


@turns_red("info_tells_the_declared_capabilities")
class TellsNoCapabilities(Telling):
    """The info leaves the capabilities out."""

    tells: ClassVar[dict[str, Any]] = {"capabilities": frozenset()}


@turns_red("no_password_is_shown")
class PasswordInTheLocation(Telling):
    """The URL is shown as it was given."""

    tells: ClassVar[dict[str, Any]] = {"location": "postgresql://user:hunter2@localhost/db"}


@turns_red("no_password_is_shown")
class PasswordInTheRepr(Delegating):
    """The repr shows the connection string."""

    def __repr__(self) -> str:
        return "<Mutant host=localhost password=hunter2>"


@turns_red("no_password_is_shown")
class PasswordInAnError(Delegating):
    """An error quotes the URL."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        try:
            return super().get_progress(model_name)
        except StorageUnavailableError as error:
            raise StorageUnavailableError("redis://:hunter2@localhost/0 is closed") from error


@turns_red("info_counts_models")
class CountsEveryModelEver(Delegating):
    """The count is that of the table of versions."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._names: set[str] = set()

    def kept(self, record: AIProgress) -> AIProgress:
        self._names.add(record.model_name)
        return record

    def get_storage_info(self) -> StorageInfo:
        return dataclasses.replace(super().get_storage_info(), model_count=len(self._names))


@turns_red("expired_record_is_absent_to_compare_and_set")
class ConflictReportsTheExpired(RemembersExpired):
    """The conflict of an expired record reports the version it had."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        try:
            return super().save_progress(progress, **options)
        except VersionConflictError as conflict:
            old = self.expired.get(conflict.model_name)
            raise VersionConflictError(
                conflict.model_name, conflict.expected, old.version if old else conflict.actual
            ) from conflict
