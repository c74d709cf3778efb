"""query_progress: filters, order, limit and paging, as the specification has them."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from ...errors import InvalidProgressError
from ...progress import AIProgress, ProgressQuery
from ...queries import run_query
from ...storage import AIStorage
from ...validation import checked_query
from .. import strategies
from .checks import check_names, check_same, explore, moment, names_of, refused, shown
from .clients import ContractBase

__all__ = ["QueryContract", "check_query", "model"]

_START = datetime(2024, 5, 1, tzinfo=UTC)


def model(name: str, mse: float = 0.5, **fields: Any) -> AIProgress:
    """Return a record."""
    return AIProgress(model_name=name, mse=mse, **fields)


def check_query(storage: AIStorage, wanted: list[str], **query: Any) -> None:
    """Fail unless a query of these fields returns the models of these names, in this order."""
    given = ProgressQuery(**query)
    check_names(f"query_progress({shown(given)})", wanted, storage.query_progress(given))


def _refilled(storage: AIStorage, corpus: list[AIProgress]) -> list[AIProgress]:
    """Replace whatever is stored by these records; return them with their stamps."""
    for record in storage.load_progress():
        storage.delete_progress(record.model_name)
    return storage.save_many(corpus)


# Pairwise different to the contract; each is taken for its neighbours by one comparison or another.
_DIFFERENT: tuple[Any, ...] = (
    *(1, 1.0, True, "1", "1.0", "true", "True", [1], [True], [1.0], {"1": 1}, "[1]"),
    *(0, 0.0, False, None, "", "null", "None", " ", [], {}, "0", "[]", "{}", [None], [[]], [{}], {"x": None}),
    *(10**16, 1e16, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, 2.0**63, -(2**63), -(2.0**63), -1, -1.0),
    *(0.1, 0.1 + 0.2, 0.3, 0.30000000000000010, 1e300, 5e-324, 1e-323, "0.1"),
    *([1, 2], [2, 1], [1, 1], [1, 2, 3], [[1], 2], [1, [2]], [1, None], ["1", 2]),
    *(
        {"x": 1},
        {"x": 1.0},
        {"x": True},
        {"x": 1, "y": None},
        {"x": {"x": 1}},
        {"x": [1]},
        {"X": 1},
        {"x": "1"},
    ),
    *(
        {"x": [1, 2]},
        {"x": [2, 1]},
        {"x": [1, 2, 3]},
        {"x": {"y": 1}},
        {"x": {"y": 1, "z": 2}},
        {"x": {"y": True}},
    ),
    *("a", "A", "a ", " a", "ä", "a\u0308", "ａ", "ab", "%", "_", "a%", "a_", "a*", ".", "a\\", "a'", 'a"'),
    *(text * 100 + end for text in ("long ", "é") for end in ("", "a", "b")),
    *({"x": "long " * 100 + end} for end in ("a", "b")),
    *("😀", "😁", "日本", "\uffff", "\U00010000", "\n", "\r\n", "\t", "2024-05-01", "2024-05-01T00:00:00Z"),
)


class QueryContract(ContractBase):
    """``query_progress``."""

    area = "queries"

    def test_any_query_agrees_with_the_specification(self, storage: AIStorage) -> None:
        """Whatever is stored and asked, the answer is the one that `queries.run_query` gives."""

        def check(data: st.DataObject) -> None:
            stored = _refilled(storage, data.draw(strategies.corpora(), label="stored"))
            for _ in range(12):
                query = data.draw(strategies.queries(stored), label="query")
                asked = copy.deepcopy(query)
                wanted = run_query(checked_query(query), stored)
                got = storage.query_progress(query)
                done = f"query_progress({shown(asked)}) of " + ", ".join(map(shown, stored))
                check_names(done, names_of(wanted), got)
                for expected, actual in zip(wanted, got, strict=True):
                    check_same(done, expected, actual, stamps=True)
                assert query == asked, f"{done} changed the query that the caller gave it to {query}"

        explore(check, st.data(), share=0.8)

    def test_query_of_nothing_returns_all(self, storage: AIStorage) -> None:
        """A query without conditions returns all records, by name in code point order."""
        names = sorted(strategies.TRICKY_NAMES)
        storage.save_many(model(name) for name in reversed(names))
        check_query(storage, names)
        check_query(storage, names[::-1], order_by="-model_name")

    def test_bounds_are_inclusive(self, storage: AIStorage) -> None:
        """min_accuracy, max_mse, min_training_samples and updated_since include the bound itself."""
        for name, value in (("a", 0.1), ("b", 0.2), ("c", 0.30000000000000004)):
            saved = storage.save_progress(
                model(name, value, accuracy=value, training_samples=int(value * 10))
            )
        check_query(storage, ["b", "c"], min_accuracy=0.2)
        check_query(storage, ["a", "b"], max_mse=0.2)
        check_query(storage, ["c"], min_accuracy=0.30000000000000004)
        check_query(storage, ["b", "c"], min_training_samples=2)
        check_query(storage, ["a", "b", "c"], min_training_samples=-(2**40))
        check_query(storage, [], min_training_samples=2**40)
        check_query(storage, ["a"], max_mse=0.1)
        storage.save_progress(model("many", 1e9, training_samples=2**31 - 1))
        check_query(storage, ["many"], min_training_samples=2**31 - 1)
        for beyond in (2**31, 2**32, 2**32 + 1, 2**40, 2**63 - 1):
            check_query(storage, [], min_training_samples=beyond)
        check_query(storage, ["a", "b", "c", "many"], min_training_samples=-(2**63))
        storage.delete_progress("many")
        check_query(storage, [], max_mse=0.09999999999999999)
        check_query(storage, ["a", "b"], max_mse=0.30000000000000004 - 5.6e-17)
        check_query(storage, [], min_accuracy=0.3000000000000001)
        updated = moment(saved, "updated_at")
        since = names_of(storage.query_progress(ProgressQuery(updated_since=updated)))
        assert "c" in since, f"updated_since=updated_at of 'c' returned {since}"
        check_query(storage, [], updated_since=updated + timedelta(days=2))

    def test_bounds_of_zero_and_below_are_bounds(self, storage: AIStorage) -> None:
        """0 and negative numbers are bounds like others, not "no bound"."""
        for name, value in (("minus", -0.5), ("zero", 0.0), ("plus", 0.5)):
            samples = None if value < 0 else int(2 * value)
            storage.save_progress(model(name, value, accuracy=value, training_samples=samples))
        storage.save_progress(model("absent", 1.0))
        check_query(storage, ["plus", "zero"], min_accuracy=0.0)
        check_query(storage, ["minus", "plus", "zero"], min_accuracy=-0.5)
        check_query(storage, ["minus", "zero"], max_mse=0.0)
        check_query(storage, ["minus"], max_mse=-0.5)
        check_query(storage, [], max_mse=-0.6)
        for least in (0, -1, -(2**63)):
            check_query(storage, ["plus", "zero"], min_training_samples=least)

    def test_updated_since_is_about_the_last_change(self, storage: AIStorage) -> None:
        """updated_since compares updated_at to the microsecond, not created_at or what the record was trained."""
        trained: dict[str, Any] = {"training_start": _START, "training_end": datetime(2100, 1, 1, tzinfo=UTC)}
        storage.save_many(model(name, **trained) for name in ("early", "late", "other"))
        first = max(moment(record, "updated_at") for record in storage.load_progress())
        late = first
        while late <= first:  # until the storage's clock moves on
            late = moment(storage.save_progress(model("late", **trained)), "updated_at")
        check_query(storage, ["late"], updated_since=late)
        check_query(storage, ["late"], updated_since=first + timedelta(microseconds=1))
        check_query(storage, [], updated_since=late + timedelta(microseconds=1))
        check_query(storage, ["early", "late", "other"], updated_since=first - timedelta(minutes=1))

    def test_updated_since_takes_any_zone(self, storage: AIStorage) -> None:
        """updated_since is a moment: in another zone it means the same."""
        saved = storage.save_progress(model("m"))
        updated = moment(saved, "updated_at")
        for hours in (-11, 0, 13):
            zone = timezone(timedelta(hours=hours))
            check_query(storage, ["m"], updated_since=updated.astimezone(zone))
            check_query(storage, [], updated_since=(updated + timedelta(microseconds=1)).astimezone(zone))

    def test_absent_values_match_no_bound(self, storage: AIStorage) -> None:
        """A record without the value never matches a bound on it."""
        storage.save_many([model("absent"), model("zero", accuracy=0.0, training_samples=0)])
        check_query(storage, ["zero"], min_accuracy=-1e308)
        check_query(storage, ["zero"], min_training_samples=-5)

    def test_absent_values_come_last(self, storage: AIStorage) -> None:
        """Records without the value come behind the others, ascending and descending, by name."""
        storage.save_many([model("z"), model("a"), model("m", accuracy=0.1), model("n", accuracy=0.2)])
        check_query(storage, ["m", "n", "a", "z"], order_by="accuracy")
        check_query(storage, ["n", "m", "a", "z"], order_by="-accuracy")

    def test_ties_are_ordered_by_name(self, storage: AIStorage) -> None:
        """Records with the same value come by name in code point order, ascending and descending alike."""
        storage.save_many(model(name) for name in ("b", "ä", "B", "a"))
        for order in ("mse", "-mse"):
            check_query(storage, ["B", "a", "b", "ä"], order_by=order)

    def test_order_by_every_field(self, storage: AIStorage) -> None:
        """Every scalar field orders, by its value: not by its text or size, nor by another field."""
        values = (0.0, -2.5, 10.0, 9.0, -10.0, 100.0, 1e-7, 1e300)
        names = ("d", "B", "g", "a", "é", "c", "\U00010000", "\uffff")
        stored: list[AIProgress] = []
        for index, (name, value) in enumerate(zip(names, values, strict=True)):
            progress = model(
                name,
                value,
                accuracy=-value,
                cross_validation_score=values[index - 3],
                training_samples=(10, 9, 100, 2, 0, 2**31 - 1, 33, 1000)[index],
                training_start=_START + timedelta(days=(10, 9, 100, 2, 0, -60000, 33, 1000)[index]),
                training_end=_START + timedelta(microseconds=(10, 9, 100, 2, 0, -1, 33, 1000)[index]),
            )
            record = storage.save_progress(progress)
            while stored and moment(record, "created_at") <= moment(stored[-1], "created_at"):
                storage.delete_progress(name)  # the storage's clock has not moved on
                record = storage.save_progress(progress)
            stored.append(record)
        # Versions of one and two digits; the model that was created last is not the one that was changed last.
        for name, times in (("g", 10), ("d", 1), ("a", 3)):
            record = next(one for one in stored if one.model_name == name)
            last = moment(record, "updated_at")
            for _ in range(times):
                record = storage.save_progress(record)
            while moment(record, "updated_at") <= last:
                record = storage.save_progress(record)
        stored = storage.load_progress()
        for order in strategies.ORDERS:
            check_query(storage, names_of(run_query(ProgressQuery(order_by=order), stored)), order_by=order)
            first = names_of(run_query(ProgressQuery(order_by=order, limit=3), stored))
            check_query(storage, first, order_by=order, limit=3)

    def test_order_compares_values_exactly(self, storage: AIStorage) -> None:
        """Order tells values apart that differ in the last bit or the last microsecond."""
        later = _START + timedelta(microseconds=1)
        storage.save_many(
            [
                model("a", 0.30000000000000004, training_start=later),
                model("b", 0.3, training_start=_START),
                model("c", -1e300, training_start=datetime(1000, 1, 1, tzinfo=UTC)),
            ]
        )
        check_query(storage, ["c", "b", "a"], order_by="mse")
        check_query(storage, ["a", "b", "c"], order_by="-training_start")

    def test_prefix_is_compared_exactly(self, storage: AIStorage) -> None:
        """name_prefix minds case, accents and blanks, knows no wildcards, and may be as long as a name or longer."""
        long = "long name " * 20
        names = [
            *(*strategies.TRICKY_NAMES, "a[b]", "a\\%", "a\\b", "a\\\\b", "a.*", "^a", "a$", "b", "aab"),
            *("a\U0010ffff", "a\U0010ffffz", "\ud7ffa", "\ue000", "a\uffffz", "a\U00010000"),
            *(long, f"{long}a", f"{long}A", f"{long} ", f"{long[:150]}x", "x" * 255, "x" * 254),
        ]
        storage.save_many(model(name) for name in names)
        prefixes = {name[:length] for name in names for length in (0, 1, 2, 3, 201, 255)}
        for prefix in sorted(
            prefixes | {"%", "_", "*", "?", "[ab]", "[", "c", ".*", "^", "x" * 256, "x" * 1000}
        ):
            wanted = sorted(name for name in names if name.startswith(prefix))
            check_query(storage, wanted, name_prefix=prefix)

    def test_metadata_is_compared_with_its_type(self, storage: AIStorage) -> None:
        """A metadata condition matches equal values of the same type only, whole and to the last digit."""
        names = {f"{index:03} {value!r}"[:60]: value for index, value in enumerate(_DIFFERENT)}
        storage.save_many(model(name, metadata={"k": value, "l": 1}) for name, value in names.items())
        storage.save_progress(model("without"))
        storage.save_progress(model("deeper", metadata={"in": {"k": 1}, "K": 1}))
        for name, value in names.items():
            check_query(storage, [name], metadata={"k": value})
        for value in ({"y": {"z": 2}}, {"x": 1, "y": {}}, [2], [1, 1, 1], 2, "absent", -0.5, [[1, 2]]):
            check_query(storage, [], metadata={"k": value})
        reordered = {"y": {"b": 2, "a": 1}, "x": 1}
        storage.save_progress(model("ordered", metadata={"k": {"x": 1, "y": {"a": 1, "b": 2}}}))
        check_query(storage, ["ordered"], metadata={"k": reordered})

    def test_metadata_keys_are_compared_exactly(self, storage: AIStorage) -> None:
        """A key is a key, whatever it holds: no path, no quote, no wildcard, no field of the record."""
        keys = sorted({*strategies.RESERVED_KEYS, *strategies.TRICKY_TEXTS, *strategies.TRICKY_NAMES})
        names = {f"{index:03}": key for index, key in enumerate(keys)}
        storage.save_many(model(name, metadata={key: 1}) for name, key in names.items())
        # What a key that is taken for a path would find.
        decoy = {"a": {"b": 1, "": {"b": 1}}, "in": dict.fromkeys(keys, 1), "list": [*keys, 1]}
        storage.save_progress(model("decoy", metadata=decoy))
        storage.save_progress(model("decoy too", metadata={"a": [1], "b": dict.fromkeys(keys, 1)}))
        for name, key in names.items():
            check_query(storage, [name], metadata={key: 1})

    def test_metadata_is_compared_at_top_level_keys(self, storage: AIStorage) -> None:
        """A condition names top-level keys, all of which must match; other keys don't matter."""
        metadata: dict[str, Mapping[str, Any]] = {
            "both": {"a": 1, "b": 2},
            "more": {"a": 1, "b": 2, "c": 3},
            "one": {"a": 1},
            "nested": {"x": {"a": 1, "b": 2}},
            "text": {"t": '"a":1,"b":2'},
            "upper": {"A": 1, "b": 2},
            "none": {},
        }
        storage.save_many(model(name, metadata=value) for name, value in metadata.items())
        check_query(storage, ["both", "more"], metadata={"a": 1, "b": 2})
        check_query(storage, ["both", "more", "one"], metadata={"a": 1})
        check_query(storage, sorted(metadata), metadata={})
        check_query(storage, [], metadata={"missing": None})
        check_query(storage, [], metadata={"a": 1, "missing": None})
        check_query(storage, [], metadata={"c": 3, "a": 2})
        check_query(storage, ["more"], metadata={"c": 3, "b": 2, "a": 1})

    def test_conditions_hold_together(self, storage: AIStorage) -> None:
        """All conditions of a query must hold, and the limit counts matches only."""
        storage.save_many(
            model(f"m{index}", index / 10, accuracy=index / 10, metadata={"even": index % 2 == 0})
            for index in range(10)
        )
        check_query(
            storage,
            ["m2", "m4", "m6"],
            min_accuracy=0.1,
            max_mse=0.7,
            metadata={"even": True},
            name_prefix="m",
        )
        check_query(storage, ["m2", "m4"], min_accuracy=0.1, metadata={"even": True}, limit=2)
        check_query(storage, ["m8", "m6", "m4"], metadata={"even": True}, order_by="-mse", limit=3)
        # Of each pair, the first alone would let more through, and so would the second.
        saved = storage.load_progress()
        since = moment(saved[0], "updated_at")
        conditions: dict[str, Any] = {
            "name_prefix": "m",
            "min_accuracy": 0.3,
            "max_mse": 0.7,
            "min_training_samples": 4,
            "updated_since": since,
            "metadata": {"even": True},
        }
        storage.save_many(
            [
                model("n5", 0.5, accuracy=0.5, training_samples=5, metadata={"even": True}),
                model("m55", 0.55, accuracy=0.55, training_samples=3, metadata={"even": True}),
                model("m56", 0.55, accuracy=0.55, training_samples=6, metadata={"even": True}),
                model("m57", 0.55, accuracy=0.2, training_samples=6, metadata={"even": True}),
                model("m58", 0.95, accuracy=0.9, training_samples=6, metadata={"even": True}),
                model("m59", 0.55, accuracy=0.9, training_samples=6, metadata={"even": False}),
            ]
        )
        stored = storage.load_progress()
        for count in (1, 2, 3, 6):
            for chosen in itertools.combinations(conditions.items(), count):
                query = ProgressQuery(**dict(chosen), limit=None if count > 2 else 2, order_by="-mse")
                wanted = names_of(run_query(checked_query(query), stored))
                check_names(f"query_progress({shown(query)})", wanted, storage.query_progress(query))

    def test_bad_query_is_refused(self, storage: AIStorage) -> None:
        """A bound of the wrong type, an unknown order or a negative limit raises InvalidProgressError."""
        storage.save_progress(model("m"))
        naive = datetime(2024, 5, 1)
        bad: list[tuple[str, Any]] = [
            ("name_prefix", 1),
            ("name_prefix", "a\0"),
            ("name_prefix", "\ud800"),
            ("min_accuracy", "0.5"),
            ("min_accuracy", float("nan")),
            ("min_accuracy", True),
            ("max_mse", float("inf")),
            ("min_training_samples", 1.5),
            ("updated_since", "2024-05-01"),
            ("updated_since", naive),
            ("metadata", {"k": {1}}),
            ("metadata", [("k", 1)]),
            ("order_by", "metadata"),
            ("order_by", "unknown"),
            ("order_by", "--mse"),
            ("order_by", "mse; DROP TABLE ai_progress"),
            ("order_by", None),
            ("limit", -1),
            ("limit", 1.0),
            ("limit", True),
            ("after", "m"),
        ]
        for field, value in bad:
            done = f"query_progress({field}={value!r})"
            with refused(InvalidProgressError, done) as caught:
                storage.query_progress(dataclasses.replace(ProgressQuery(), **{field: value}))
            assert caught[0].field == field, f"{done}: the error names {caught[0].field!r}"
        no_query: Any = {"order_by": "mse"}
        with refused(InvalidProgressError, "query_progress({...})"):
            storage.query_progress(no_query)
