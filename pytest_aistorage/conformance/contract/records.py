"""A record comes back exactly as it was saved."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from hypothesis import strategies as st

from ...progress import AIProgress
from ...storage import AIStorage
from ...validation import checked_progress
from .. import strategies
from .checks import check_same, explore, found
from .clients import Clients, ContractBase
from .ways import WAYS_IN, check_kept, check_read

__all__ = ["RecordContract"]

_FULL = AIProgress(
    model_name="full",
    mse=0.25,
    accuracy=0.75,
    cross_validation_score=0.5,
    training_samples=1000,
    training_start=datetime(2024, 5, 1, 12, 30, 15, 123456, tzinfo=UTC),
    training_end=datetime(2024, 5, 1, 13, 0, 0, 1, tzinfo=UTC),
    metadata={"optimizer": "adam", "layers": [64, 32], "dropout": 0.1},
)


class _SummerTime(tzinfo):
    """Central Europe in 2024: an hour ahead of UTC, two from March 31 to October 27."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """The offset at a wall clock's time; `fold` tells the second of the hours that come twice."""
        assert moment is not None
        wall = moment.replace(tzinfo=None, fold=0)
        begins, ends = datetime(2024, 3, 31, 3), datetime(2024, 10, 27, 3 - moment.fold)
        return timedelta(hours=2 if begins <= wall < ends else 1)

    def dst(self, moment: datetime | None) -> timedelta:
        """What of the offset is summer time."""
        return self.utcoffset(moment) - timedelta(hours=1)

    def __repr__(self) -> str:
        return "<Central Europe in 2024>"

    def tzname(self, moment: datetime | None) -> str:
        """The zone's name."""
        return "CET/CEST"


class RecordContract(ContractBase):
    """Records are kept exactly: every value, every type, every name."""

    area = "records"

    def test_any_record_comes_back_exactly(self, storage: AIStorage) -> None:
        """Whatever the contract allows is returned as it was saved, with its types, by save and get."""

        def check(progress: AIProgress) -> None:
            done = f"save_progress({progress!r})"
            check_same(f"{done} returned", progress, storage.save_progress(progress))
            check_same(f"{done}, then get_progress", progress, found(storage, progress.model_name, done))

        explore(check, strategies.progress(), share=2.0)

    def test_any_record_goes_every_way(self, storage: AIStorage) -> None:
        """Save, compare-and-set, batch and update keep any record alike; get, listings, query and change show it."""

        def check(before: AIProgress | None, progress: AIProgress) -> None:
            for way in WAYS_IN:
                storage.delete_progress(f"{way}: m")
            check_kept(storage, progress, over=before)

        record = strategies.progress(st.just("m"))
        explore(check, st.none() | record, record)

    def test_listings_return_records_exactly(self, storage: AIStorage) -> None:
        """Listing, iteration, query and change return the same records as get does, stamps included."""
        full = dataclasses.replace(_FULL, metadata={"n": 2**53 + 1, "f": 1.0, "é": [None, True, {}, []]})
        records = [
            full,
            AIProgress(model_name="bare", mse=0.0),
            AIProgress(
                model_name="zero", mse=0.1, accuracy=0.0, cross_validation_score=0.0, training_samples=0
            ),
            AIProgress(model_name="null", mse=1e22, metadata={"null": None, "empty": [], "none": {}, "": ""}),
        ]
        for progress in records:
            storage.save_progress(progress)
        storage.save_progress(full)  # so that the stamps of one record differ
        check_read(storage, records, "save_progress of")

    def test_save_returns_what_is_stored(self, storage: AIStorage) -> None:
        """save_progress returns the stored record with its stamps: what a get returns afterwards."""
        for progress in (_FULL, dataclasses.replace(_FULL, mse=0.5)):
            saved = storage.save_progress(progress)
            check_same(
                "get_progress after save_progress",
                saved,
                storage.get_progress(progress.model_name),
                stamps=True,
            )

    def test_floats_are_64_bit(self, storage: AIStorage, clients: Clients) -> None:
        """Floats come back bit for bit, also the smallest, the largest and those that need 17 digits."""
        values = (
            *(0.1, 1 / 3, 16777217.0, 1e16, 1e22, -1e-7, 5e-324, 2.2250738585072014e-308),
            *(1.7976931348623157e308, -1.7976931348623157e308, 0.30000000000000004, 9007199254740993.0),
            *(-5e-324, 123456789.12345679, 2**63 * 1.0, 1e15, 1e-5, 100.0, -0.1),
        )
        check_kept(
            storage,
            *(
                AIProgress(
                    model_name=clients.new_name(),
                    mse=value,
                    accuracy=value,
                    cross_validation_score=value,
                    metadata={"f": value},
                )
                for value in values
            ),
        )

    def test_negative_zero_is_stored_as_zero(self, storage: AIStorage) -> None:
        """-0.0 is stored as 0.0 everywhere, since some stores know no negative zero."""
        zero = AIProgress(
            model_name="zero",
            mse=-0.0,
            accuracy=-0.0,
            cross_validation_score=-0.0,
            metadata={"z": -0.0, "in": [-0.0]},
        )
        check_kept(storage, zero)

    def test_ints_given_for_floats_become_floats(self, storage: AIStorage) -> None:
        """``mse=1`` is stored as 1.0, so that every backend returns the same type."""
        check_kept(storage, AIProgress(model_name="int", mse=1, accuracy=0, cross_validation_score=-3))

    def test_training_samples_reach_the_limits(self, storage: AIStorage, clients: Clients) -> None:
        """Sample counts from 0 to 2**31 - 1 come back as ints."""
        values = (0, 1, 255, 256, 32767, 32768, 65536, 2**24 - 1, 2**24 + 1, 2**31 - 2, 2**31 - 1)
        check_kept(
            storage,
            *(AIProgress(model_name=clients.new_name(), mse=0.5, training_samples=value) for value in values),
        )

    def test_absent_values_stay_absent(self, storage: AIStorage) -> None:
        """None comes back as None, not as 0 or an empty text."""
        check_kept(storage, AIProgress(model_name="bare", mse=0.0))

    def test_save_replaces_every_field(self, storage: AIStorage) -> None:
        """A save by any way replaces the whole record: what it leaves out is absent, what is less is less."""
        less = dataclasses.replace(
            _FULL,
            mse=-0.25,
            accuracy=0.0,
            cross_validation_score=-0.5,
            training_samples=0,
            training_start=datetime(2023, 5, 1, tzinfo=UTC),
            training_end=datetime(2023, 5, 1, tzinfo=UTC),
            metadata={},
        )
        bare = AIProgress(model_name=_FULL.model_name, mse=0.125)
        for before, after in ((_FULL, bare), (_FULL, less), (less, _FULL), (bare, _FULL)):
            check_kept(storage, after, over=before)

    def test_metadata_is_replaced_not_merged(self, storage: AIStorage) -> None:
        """The metadata of a second save takes the place of the first's, nested values included."""
        before = dataclasses.replace(_FULL, metadata={"old": 1, "both": {"x": 1}, "list": [1, 2], "null": 0})
        replacements: tuple[dict[str, Any], ...] = (
            {"new": 2, "both": {"y": 2}, "list": [3], "null": None},
            {"both": {}},
            {},
        )
        for metadata in replacements:
            check_kept(storage, dataclasses.replace(_FULL, metadata=metadata), over=before)

    def test_metadata_keeps_types(self, storage: AIStorage) -> None:
        """Metadata keeps each value's type: 1, 1.0, True and "1" differ, and so do empty containers and None."""
        values: tuple[Any, ...] = (
            *(1, 1.0, True, "1", 0, 0.0, False, None, "", [], {}, "null", "true"),
            *(1e16, 1e22, 1e300, 5e-324, 100.0, -1.0, 1e-7, 0.1 + 0.2, 1.7976931348623157e308),
            *(2**31, -(2**31) - 1, 2**53 + 1, -(2**53) - 1, 10**16, 2**62 + 1, 2**63 - 1, -(2**63)),
            *([1, 1.0, [True, None]], {"a": {"b": [{}]}}, [[], {}, [[]]], {"a": None, "": [None]}),
            *([3, 1, 2, 1], [1], [None], [1.5, 1], [{"x": 1}, {"x": 1.0}], {"x": {"x": {"x": False}}}),
            # Texts that mean something to one parser or another.
            *("0", "1.0", "-1", "1e5", "NaN", "Infinity", "None", "undefined", "yes", "[]", "{}", '"a"'),
            *("2024-05-01", "2024-05-01T12:00:00Z", "2024-05-01T12:00:00.000001+00:00", "12:30", "0x1f"),
        )
        keyed = {f"{index}: {type(value).__name__}": value for index, value in enumerate(values)}
        check_kept(
            storage,
            AIProgress(model_name="values of keys", mse=0.5, metadata=keyed),
            AIProgress(model_name="items of a list", mse=0.5, metadata={"items": list(values)}),
        )

    def test_metadata_keeps_every_text(self, storage: AIStorage) -> None:
        """Keys and texts come back letter by letter: other scripts, emoji, quotes, control characters."""
        texts = strategies.TRICKY_TEXTS
        check_kept(
            storage,
            AIProgress(
                model_name="keys", mse=0.5, metadata={text: index for index, text in enumerate(texts)}
            ),
            AIProgress(model_name="values", mse=0.5, metadata={"list": list(texts)}),
            AIProgress(model_name="inside", mse=0.5, metadata={"k": {f"a{t}b": f"a{t}b" for t in texts}}),
        )

    def test_metadata_keeps_every_key(self, storage: AIStorage, clients: Clients) -> None:
        """Keys come back as they are, and apart: long ones, many of them, some that differ in case or a blank."""
        metadata: dict[str, Any] = {key: index for index, key in enumerate(strategies.TRICKY_NAMES)}
        metadata |= {key: index for index, key in enumerate(strategies.RESERVED_KEYS)}
        metadata |= {f"{'k' * 300}{index}": index for index in range(3)}
        many = {f"key {index}": index for index in range(1200)}
        given: list[dict[str, Any]] = [metadata, many, {"in": [metadata]}]
        check_kept(
            storage,
            *(AIProgress(model_name=clients.new_name(), mse=0.5, metadata=one) for one in given),
        )

    def test_metadata_keeps_32_levels(self, storage: AIStorage) -> None:
        """Metadata of 32 levels, itself the first, is kept."""
        nested: Any = "deep"
        for level in range(31):
            nested = {"k": nested} if level % 2 else [nested]
        check_kept(storage, AIProgress(model_name="deep", mse=0.5, metadata={"k": nested}))

    def test_metadata_may_be_large(self, storage: AIStorage) -> None:
        """Metadata of more than a million characters is kept whole: in one text, in a list, in many keys."""
        large: dict[str, Any] = {"log": "epoch é " * 80_000, "short": "e" * 300, "page": "p" * 5000}
        lists: dict[str, Any] = {
            "loss": [index / 7 for index in range(20_000)],
            "epochs": list(range(70_000)),
        }
        for metadata in (large, lists, large | lists):
            progress = AIProgress(model_name="large", mse=0.5, metadata=metadata)
            storage.save_progress(progress)
            check_read(storage, [progress], "save_progress of")

    def test_moments_come_back_in_utc_to_the_microsecond(self, storage: AIStorage, clients: Clients) -> None:
        """Datetimes of any zone come back as the same moment, aware, in UTC, to the microsecond."""
        offsets = (0, -720, -210, -1, 1, 345, 840)
        zones = (
            *(timezone(timedelta(minutes=o)) for o in offsets),
            timezone(timedelta(seconds=-3723)),
            _SummerTime(),
        )
        starts = [
            datetime(2024, 3, 31, 2, 30, 0, microsecond, tzinfo=zone)
            for zone in zones
            for microsecond in (0, 1, 999999)
        ]
        starts += [datetime(2024, 3, 31, 2, 30, 0, us, tzinfo=UTC) for us in (10, 999, 1000, 123456, 500000)]
        # The hour that comes twice: only `fold` tells one from the other.
        starts += [datetime(2024, 10, 27, 2, 30, tzinfo=_SummerTime(), fold=fold) for fold in (0, 1)]
        check_kept(
            storage,
            *(
                AIProgress(
                    model_name=clients.new_name(),
                    mse=0.5,
                    training_start=start,
                    training_end=end.replace(microsecond=start.microsecond),
                )
                for start, end in zip(starts, reversed(starts), strict=True)
            ),
        )

    def test_moments_reach_the_limits(self, storage: AIStorage, clients: Clients) -> None:
        """The years 1000 to 9999 are kept: before 1970, after 2038, to the last microsecond."""
        moments = (
            datetime(1000, 1, 1, tzinfo=UTC),
            datetime(1000, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            datetime(1582, 10, 10, tzinfo=UTC),
            datetime(1899, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(2024, 2, 29, tzinfo=UTC),
            datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
            datetime(2262, 4, 12, tzinfo=UTC),  # 2**63 nanoseconds after 1970
            # In 1970 a float of seconds tells a tenth of a microsecond apart, and here no single one.
            datetime(9000, 6, 15, 12, 0, 0, 123457, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        )
        check_kept(
            storage,
            *(
                AIProgress(model_name=clients.new_name(), mse=0.5, training_start=moment, training_end=moment)
                for moment in moments
            ),
        )

    def test_unknown_model_is_none(self, storage: AIStorage) -> None:
        """get_progress of a model that was never saved returns None."""
        storage.save_progress(AIProgress(model_name="known", mse=0.5))
        got = storage.get_progress("unknown")
        assert got is None, f"get_progress of a model that was never saved returned {got!r}"

    def test_subclasses_of_plain_types_come_back_plain(self, storage: AIStorage) -> None:
        """A subclass of str, int, float, list or dict is stored as the plain type, as JSON would."""

        class Text(str):
            __slots__ = ()

        class Whole(int):
            pass

        class Number(float):
            pass

        given = AIProgress(
            model_name=Text("plain"),
            mse=Number(0.5),
            training_samples=Whole(3),
            metadata={Text("k"): Whole(1)},
        )
        wanted = AIProgress(model_name="plain", mse=0.5, training_samples=3, metadata={"k": 1})
        check_same("save_progress of subclasses", wanted, storage.save_progress(given))
        check_same("get_progress of them", checked_progress(wanted), storage.get_progress("plain"))
