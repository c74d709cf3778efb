"""A record comes back exactly as it was saved."""

from __future__ import annotations

import contextlib
import dataclasses
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from ...validation import checked_progress
from .. import strategies
from .checks import check_same, explore, found
from .clients import Clients, ContractBase

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


def _kept(storage: AIStorage, progress: AIProgress) -> AIProgress:
    """Save a record, check what comes back by every way out, and return it."""
    done = f"save_progress({progress!r})"
    check_same(f"{done} returned", progress, storage.save_progress(progress))
    return check_same(f"{done}, then get_progress", progress, found(storage, progress.model_name, done))


class RecordContract(ContractBase):
    """Records are kept exactly: every value, every type, every name."""

    area = "records"

    def test_any_record_comes_back_exactly(self, storage: AIStorage) -> None:
        """Whatever the contract allows is returned as it was saved, with its types, by save and get."""
        explore(lambda progress: (_kept(storage, progress), None)[1], strategies.progress(), share=2.0)

    def test_listings_return_records_exactly(self, storage: AIStorage, clients: Clients) -> None:
        """Listing, iteration and query return the same record as get does, stamps included."""
        progress = dataclasses.replace(_FULL, metadata={"n": 2**53 + 1, "f": 1.0, "é": [None, True]})
        storage.save_progress(progress)
        wanted = found(storage, progress.model_name, "save_progress")
        ways = {
            "load_progress": storage.load_progress(),
            "iter_progress": list(storage.iter_progress(batch_size=1)),
            "query_progress": storage.query_progress(ProgressQuery()),
        }
        for way, records in ways.items():
            assert len(records) == 1, f"{way}() of a store with one record returned {records!r}"
            check_same(way, wanted, records[0], stamps=True)

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
        for value in (
            *(0.1, 1 / 3, 16777217.0, 1e16, 1e22, -1e-7, 5e-324, 2.2250738585072014e-308),
            *(1.7976931348623157e308, -1.7976931348623157e308, 0.30000000000000004, 9007199254740993.0),
        ):
            _kept(
                storage,
                AIProgress(
                    model_name=clients.new_name(),
                    mse=value,
                    accuracy=value,
                    cross_validation_score=value,
                    metadata={"f": value},
                ),
            )

    def test_negative_zero_is_stored_as_zero(self, storage: AIStorage) -> None:
        """-0.0 is stored as 0.0 everywhere, since some stores know no negative zero."""
        _kept(storage, AIProgress(model_name="zero", mse=-0.0, accuracy=-0.0, metadata={"z": [-0.0]}))

    def test_ints_given_for_floats_become_floats(self, storage: AIStorage) -> None:
        """``mse=1`` is stored as 1.0, so that every backend returns the same type."""
        _kept(storage, AIProgress(model_name="int", mse=1, accuracy=0, cross_validation_score=-3))

    def test_training_samples_reach_the_limits(self, storage: AIStorage, clients: Clients) -> None:
        """Sample counts from 0 to 2**31 - 1 come back as ints."""
        for value in (0, 1, 2**31 - 1):
            _kept(storage, AIProgress(model_name=clients.new_name(), mse=0.5, training_samples=value))

    def test_absent_values_stay_absent(self, storage: AIStorage) -> None:
        """None comes back as None, not as 0 or an empty text."""
        _kept(storage, AIProgress(model_name="bare", mse=0.0))

    def test_save_replaces_every_field(self, storage: AIStorage) -> None:
        """A second save replaces the whole record; what it leaves out is absent afterwards."""
        storage.save_progress(_FULL)
        _kept(storage, AIProgress(model_name=_FULL.model_name, mse=0.125))

    def test_metadata_is_replaced_not_merged(self, storage: AIStorage) -> None:
        """The metadata of a second save takes the place of the first's, nested values included."""
        storage.save_progress(dataclasses.replace(_FULL, metadata={"old": 1, "both": {"x": 1}}))
        _kept(storage, dataclasses.replace(_FULL, metadata={"new": 2, "both": {"y": 2}}))

    def test_metadata_keeps_types(self, storage: AIStorage, clients: Clients) -> None:
        """Metadata keeps each value's type: 1, 1.0, True and "1" differ, and so do empty containers and None."""
        values: tuple[Any, ...] = (
            *(1, 1.0, True, "1", 0, 0.0, False, None, "", [], {}, "null", "true"),
            *(1e16, 1e22, 1e300, 5e-324, 100.0, -1.0, 1e-7),
            *(2**31, 2**53 + 1, 2**63 - 1, -(2**63)),
            *([1, 1.0, [True, None]], {"a": {"b": [{}]}}, [[], {}, [[]]]),
        )
        for value in values:
            _kept(storage, AIProgress(model_name=clients.new_name(), mse=0.5, metadata={"value": value}))

    def test_metadata_keeps_every_text(self, storage: AIStorage, clients: Clients) -> None:
        """Keys and texts come back letter by letter: other scripts, emoji, quotes, control characters."""
        for text in (
            *(
                "é",
                "e\u0301",
                "日本語",
                "😀👩‍👩‍👧",
                "עברית",
                '"',
                "\\",
                "\\u0041",
                "\\0",
                "'",
                "\x01",
                "\x7f",
            ),
            *("\r\n", "\t", " ", "a ", "%s", "{}", "\u2028", "\ufeff", "\uffff", "\U0010ffff", "1e5"),
        ):
            _kept(storage, AIProgress(model_name=clients.new_name(), mse=0.5, metadata={text: text}))

    def test_metadata_keeps_32_levels(self, storage: AIStorage) -> None:
        """Metadata of 32 levels, itself the first, is kept."""
        nested: Any = "deep"
        for level in range(31):
            nested = {"k": nested} if level % 2 else [nested]
        _kept(storage, AIProgress(model_name="deep", mse=0.5, metadata={"k": nested}))

    def test_metadata_may_be_large(self, storage: AIStorage) -> None:
        """Metadata of some hundred thousand characters is kept whole."""
        large = {"loss": [index / 7 for index in range(5000)], "log": "epoch é " * 12_000}
        _kept(storage, AIProgress(model_name="large", mse=0.5, metadata=large))

    def test_moments_come_back_in_utc_to_the_microsecond(self, storage: AIStorage, clients: Clients) -> None:
        """Datetimes of any zone come back as the same moment, aware, in UTC, to the microsecond."""
        for zone in (UTC, timezone(timedelta(hours=-12)), timezone(timedelta(hours=5, minutes=45))):
            for microsecond in (0, 1, 999, 123456, 999999):
                start = datetime(2024, 3, 31, 2, 30, 0, microsecond, tzinfo=zone)
                _kept(
                    storage,
                    AIProgress(
                        model_name=clients.new_name(),
                        mse=0.5,
                        training_start=start,
                        training_end=start + timedelta(days=1),
                    ),
                )

    def test_moments_reach_the_limits(self, storage: AIStorage, clients: Clients) -> None:
        """The years 1000 to 9999 are kept: before 1970, after 2038, to the last microsecond."""
        for moment in (
            datetime(1000, 1, 1, tzinfo=UTC),
            datetime(1582, 10, 10, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ):
            _kept(
                storage,
                AIProgress(
                    model_name=clients.new_name(), mse=0.5, training_start=moment, training_end=moment
                ),
            )

    def test_names_are_compared_exactly(self, storage: AIStorage) -> None:
        """Names that differ in case, accents, blanks or normalization form are models of their own."""
        names = strategies.TRICKY_NAMES
        for index, name in enumerate(names):
            _kept(storage, AIProgress(model_name=name, mse=float(index)))
        for index, name in enumerate(names):
            got = found(storage, name, f"save_progress of {len(names)} models, among them {name!r}")
            check_same("after saving the others", AIProgress(model_name=name, mse=float(index)), got)
            assert got.version == 1, (
                f"model {name!r} has version {got.version}: another name was taken for it"
            )
        assert storage.delete_progress("a") == 2, "delete_progress('a') took another model's version"
        for name in names[1:]:
            found(storage, name, "delete_progress('a')")

    def test_names_of_255_characters_are_kept_whole(self, storage: AIStorage) -> None:
        """A name is counted in characters: 255 of four bytes each fit, and differ in the last."""
        names = ["😀" * 255, "😀" * 254 + "😁", "a" * 255, "a" * 254]
        for index, name in enumerate(names):
            _kept(storage, AIProgress(model_name=name, mse=float(index)))
        assert len(storage.load_progress()) == len(names), "names that differ at their end were taken for one"

    def test_any_two_names_are_two_models(self, storage: AIStorage) -> None:
        """Two names that differ in any way are two models."""

        def check(first: str, second: str) -> None:
            storage.save_progress(AIProgress(model_name=first, mse=1.0))
            if first != second:
                storage.save_progress(AIProgress(model_name=second, mse=2.0))
                kept = found(storage, first, f"saving {first!r} and then {second!r}")
                assert kept.mse == 1.0, f"saving {second!r} changed {first!r}"
                storage.delete_progress(second)
                found(storage, first, f"saving {first!r} and {second!r}, then deleting {second!r}")
            storage.delete_progress(first)

        similar = strategies.names().flatmap(
            lambda name: st.tuples(st.just(name), st.sampled_from(_alike(name)))
        )
        explore(lambda pair: check(*pair), similar)

    def test_unknown_model_is_none(self, storage: AIStorage) -> None:
        """get_progress of a model that was never saved returns None."""
        storage.save_progress(AIProgress(model_name="known", mse=0.5))
        got = storage.get_progress("unknown")
        assert got is None, f"get_progress of a model that was never saved returned {got!r}"

    def test_changing_the_input_does_not_reach_the_store(self, storage: AIStorage, clients: Clients) -> None:
        """What the caller does to its metadata after a save does not change what is stored."""

        def tamper(given: dict[str, Any]) -> None:
            given["list"].append("changed")
            given["dict"]["x"] = "changed"
            given["added"] = True

        def fresh() -> dict[str, Any]:
            return {"list": [1], "dict": {"x": 1}}

        for way in ("save_progress", "save_many", "update_progress"):
            given = fresh()
            progress = AIProgress(model_name=way, mse=0.5, metadata=given)
            if way == "save_progress":
                storage.save_progress(progress)
            elif way == "save_many":
                storage.save_many([progress])
            else:
                storage.update_progress(way, lambda _, new=progress: new)  # type: ignore[misc]  # bound now
            tamper(given)
            wanted = dataclasses.replace(progress, metadata=fresh())
            check_same(f"{way}, then changing the metadata given to it", wanted, storage.get_progress(way))

    def test_changing_the_output_does_not_reach_the_store(self, storage: AIStorage) -> None:
        """What the caller does to a returned record's metadata does not change what is stored."""
        progress = AIProgress(model_name="m", mse=0.5, metadata={"list": [1], "dict": {"x": 1}})
        ways: dict[str, Callable[[], Any]] = {
            "save_progress": lambda: storage.save_progress(progress),
            "save_many": lambda: storage.save_many([progress])[0],
            "get_progress": lambda: storage.get_progress("m"),
            "load_progress": lambda: storage.load_progress()[0],
            "iter_progress": lambda: next(iter(storage.iter_progress())),
            "query_progress": lambda: storage.query_progress(ProgressQuery())[0],
            "update_progress": lambda: storage.update_progress("m", lambda current: current or progress),
        }
        for way, returned in ways.items():
            record = returned()
            record.metadata["list"].append("changed")
            record.metadata["dict"]["x"] = "changed"
            record.metadata["added"] = True
            check_same(f"{way}, then changing the metadata it returned", progress, storage.get_progress("m"))

    def test_update_gets_a_record_of_its_own(self, storage: AIStorage) -> None:
        """A change that tampers with the record it gets, and then raises, leaves the stored one alone."""
        progress = AIProgress(model_name="m", mse=0.5, metadata={"list": [1]})
        storage.save_progress(progress)

        def tamper(current: AIProgress | None) -> AIProgress:
            assert current is not None, "the change of a stored model got None"
            current.metadata["list"].append("changed")
            raise LookupError("after tampering")

        with contextlib.suppress(LookupError):
            storage.update_progress("m", tamper)
        check_same("update_progress whose change tampered and raised", progress, storage.get_progress("m"))

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


def _alike(name: str) -> list[str]:
    """Names that a sloppy comparison takes for this one."""
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    alike = [
        name.upper(),
        name.lower(),
        name.casefold(),
        name.strip(),
        f"{name} ",
        f" {name}",
        name[:-1],
        *forms,
    ]
    usable = {other for other in alike if 1 <= len(other) <= 255 and other != name}
    return sorted(usable) or ["other"]
