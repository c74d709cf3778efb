"""Faults in expiry."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pytest_aistorage import (
    AIProgress,
    StorageInfo,
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


@turns_red("save_replaces_the_time_to_live")
class FirstTtlStays(Delegating):
    """A record that has a time to live keeps it, whatever a later save gives."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ttls: dict[str, timedelta] = {}

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        if isinstance(ttl, timedelta):
            ttl = self._ttls.setdefault(progress.model_name, ttl)
        return super().save_progress(progress, ttl=ttl, **options)


@turns_red("save_replaces_the_time_to_live")
class CompareAndSetForgetsTtl(Delegating):
    """The statement of a compare-and-set leaves the time to live out."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, ttl: timedelta | None = None
    ) -> AIProgress:
        return super().save_progress(
            progress, expected_version=expected_version, ttl=None if expected_version else ttl
        )


@turns_red("refused_change_leaves_the_time_to_live")
class ConflictSetsTtl(Delegating):
    """EXPIRE is sent beside the compare-and-set, and takes effect where that one does not."""

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        try:
            return super().save_progress(progress, ttl=ttl, **options)
        except VersionConflictError:
            if (current := self.inner.get_progress(progress.model_name)) is not None:
                self.inner.save_progress(current, ttl=ttl)
            raise


class RemembersTtls(Delegating):
    """Knows the time to live that each model was last given."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.ttls: dict[str, timedelta] = {}

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        saved = super().save_progress(progress, ttl=ttl, **options)
        if ttl is not None:
            self.ttls[saved.model_name] = ttl
        return saved


@turns_red("reborn_record_does_not_inherit_a_time_to_live")
class TtlOutlivesItsRecord(RemembersTtls):
    """The deadline is kept by name, and strikes the record that comes after a delete or an expiry."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        reborn = self.inner.get_progress(model_name) is None
        saved = super().update_progress(model_name, change)
        return self.inner.save_progress(saved, ttl=self.ttls.get(model_name)) if reborn else saved


@turns_red("updates_do_not_extend_the_time_to_live")
class UpdateRenewsTtl(RemembersTtls):
    """Every update lets the time to live begin anew."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        saved = super().update_progress(model_name, change)
        return self.inner.save_progress(saved, ttl=self.ttls.get(model_name))


@turns_red("created_at_is_new_after_expiry")
class ExpiredRecordLendsItsCreatedAt(RemembersExpired):
    """A model that comes back by an update after its expiry is taken for the old one."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        saved = super().update_progress(model_name, change)
        old = self.expired.get(model_name)
        return saved if old is None else dataclasses.replace(saved, created_at=old.created_at)


@turns_red("record_stays_until_its_time_is_over", "record_expires_when_its_time_is_over")
class TtlInAnotherUnit(Delegating):
    """Seconds are taken for milliseconds."""

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        if isinstance(ttl, timedelta) and timedelta(milliseconds=1) <= ttl <= timedelta(days=36525):
            ttl = max(ttl / 1000, timedelta(milliseconds=1))
        return super().save_progress(progress, ttl=ttl, **options)


@turns_red("record_stays_until_its_time_is_over")
class TtlLosesItsDays(Delegating):
    """timedelta.seconds, which is what is left beside whole days."""

    def save_progress(
        self, progress: AIProgress, *, ttl: timedelta | None = None, **options: Any
    ) -> AIProgress:
        if isinstance(ttl, timedelta) and 0 < ttl.days < 36525:
            ttl = max(ttl - timedelta(days=ttl.days), timedelta(milliseconds=1))
        return super().save_progress(progress, ttl=ttl, **options)


@turns_red("expired_record_is_nowhere")
class ExpireNowTakesOthersAlong(RemembersTtls):
    """What has a time to live expires with the first of it."""

    def expire_now(self, model_name: str) -> bool:
        for name in self.ttls:
            super().expire_now(name)
        return super().expire_now(model_name)


@turns_red("expired_record_is_absent_to_compare_and_set")
class DeleteOfTheExpiredReturnsAVersion(RemembersExpired):
    """A delete of an expired record returns the version that the expiry took."""

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        taken = super().delete_progress(model_name, expected_version=expected_version)
        old = self.expired.get(model_name)
        return old.version + 1 if taken is None and old is not None else taken


@turns_red("expired_record_is_nowhere")
class ExpiresWhenItIsAskedFor(RemembersExpired):
    """A get clears up what has expired; until then listings show it."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        self.expired.pop(model_name, None)
        return super().get_progress(model_name)

    def load_progress(self) -> list[AIProgress]:
        return sorted([*super().load_progress(), *self.expired.values()], key=lambda r: r.model_name)


@turns_red("record_expires_when_its_time_is_over")
class OpeningClearsTtls(Delegating):
    """Each client that opens writes every record anew."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.inner.save_many(self.inner.load_progress())
