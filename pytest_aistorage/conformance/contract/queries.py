"""query_progress: filters, order, limit and paging, as the specification has them."""

from __future__ import annotations

import dataclasses
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
from .checks import check_names, check_same, explore, moment, names_of, refused
from .clients import ContractBase

__all__ = ["QueryContract"]

_START = datetime(2024, 5, 1, tzinfo=UTC)


def _model(name: str, mse: float = 0.5, **fields: Any) -> AIProgress:
    return AIProgress(model_name=name, mse=mse, **fields)


def _check(storage: AIStorage, wanted: list[str], **query: Any) -> None:
    given = ProgressQuery(**query)
    shown = ", ".join(f"{name}={value!r}" for name, value in query.items())
    check_names(f"query_progress({shown})", wanted, storage.query_progress(given))


def _refilled(storage: AIStorage, corpus: list[AIProgress]) -> list[AIProgress]:
    """Replace whatever is stored by these records; return them with their stamps."""
    for record in storage.load_progress():
        storage.delete_progress(record.model_name)
    return storage.save_many(corpus)


class QueryContract(ContractBase):
    """``query_progress``."""

    area = "queries"

    def test_any_query_agrees_with_the_specification(self, storage: AIStorage) -> None:
        """Whatever is stored and asked, the answer is the one that `queries.run_query` gives."""

        def check(data: st.DataObject) -> None:
            stored = _refilled(storage, data.draw(strategies.corpora(), label="stored"))
            for _ in range(8):
                query = data.draw(strategies.queries(stored), label="query")
                wanted = run_query(checked_query(query), stored)
                got = storage.query_progress(query)
                check_names(f"query_progress({query})", names_of(wanted), got)
                for expected, actual in zip(wanted, got, strict=True):
                    check_same(f"query_progress({query})", expected, actual, stamps=True)

        explore(check, st.data(), share=3.0)

    def test_paging_by_any_order_visits_each_match_once(self, storage: AIStorage) -> None:
        """Page after page by `after`, each match comes once and in order, for every order and page size."""
        moments = (None, _START, _START + timedelta(microseconds=1))
        storage.save_many(
            _model(
                name,
                (0.5, 0.25)[index % 2],
                accuracy=(None, 0.1, 0.9)[index % 3],
                cross_validation_score=(0.3, None)[index % 2],
                training_samples=(7, None, 7)[index % 3],
                training_start=moments[index % 3],
                training_end=moments[(index + 1) % 3],
            )
            for index, name in enumerate(("a", "A", "b", "ä", "c", "d", "\uffff", "\U00010000"))
        )
        storage.save_progress(_model("b", 0.5, accuracy=0.1))
        stored = storage.load_progress()
        for order in strategies.ORDERS:
            wanted = names_of(run_query(ProgressQuery(order_by=order), stored))
            for size in (1, 3):
                pages: list[AIProgress] = []
                after = None
                while len(pages) <= len(stored):
                    page = storage.query_progress(ProgressQuery(order_by=order, limit=size, after=after))
                    assert len(page) <= size, f"limit={size} returned {len(page)} records"
                    pages += page
                    if len(page) < size:
                        break
                    after = page[-1]
                check_names(f"all pages of {size} by order_by={order!r}", wanted, pages)

    def test_query_of_nothing_returns_all(self, storage: AIStorage) -> None:
        """A query without conditions returns all records, by name in code point order."""
        names = sorted(strategies.TRICKY_NAMES)
        storage.save_many(_model(name) for name in reversed(names))
        _check(storage, names)
        _check(storage, names[::-1], order_by="-model_name")

    def test_bounds_are_inclusive(self, storage: AIStorage) -> None:
        """min_accuracy, max_mse, min_training_samples and updated_since include the bound itself."""
        for name, value in (("a", 0.1), ("b", 0.2), ("c", 0.30000000000000004)):
            saved = storage.save_progress(
                _model(name, value, accuracy=value, training_samples=int(value * 10))
            )
        _check(storage, ["b", "c"], min_accuracy=0.2)
        _check(storage, ["a", "b"], max_mse=0.2)
        _check(storage, ["c"], min_accuracy=0.30000000000000004)
        _check(storage, ["b", "c"], min_training_samples=2)
        _check(storage, ["a", "b", "c"], min_training_samples=-(2**40))
        _check(storage, [], min_training_samples=2**40)
        updated = moment(saved, "updated_at")
        since = names_of(storage.query_progress(ProgressQuery(updated_since=updated)))
        assert "c" in since, f"updated_since=updated_at of 'c' returned {since}"
        _check(storage, [], updated_since=updated + timedelta(days=2))

    def test_updated_since_takes_any_zone(self, storage: AIStorage) -> None:
        """updated_since is a moment: in another zone it means the same."""
        saved = storage.save_progress(_model("m"))
        updated = moment(saved, "updated_at")
        for hours in (-11, 0, 13):
            zone = timezone(timedelta(hours=hours))
            _check(storage, ["m"], updated_since=updated.astimezone(zone))
            _check(storage, [], updated_since=(updated + timedelta(microseconds=1)).astimezone(zone))

    def test_absent_values_match_no_bound(self, storage: AIStorage) -> None:
        """A record without the value never matches a bound on it."""
        storage.save_many([_model("absent"), _model("zero", accuracy=0.0, training_samples=0)])
        _check(storage, ["zero"], min_accuracy=-1e308)
        _check(storage, ["zero"], min_training_samples=-5)

    def test_absent_values_come_last(self, storage: AIStorage) -> None:
        """Records without the value come behind the others, ascending and descending, by name."""
        storage.save_many([_model("z"), _model("a"), _model("m", accuracy=0.1), _model("n", accuracy=0.2)])
        _check(storage, ["m", "n", "a", "z"], order_by="accuracy")
        _check(storage, ["n", "m", "a", "z"], order_by="-accuracy")

    def test_ties_are_ordered_by_name(self, storage: AIStorage) -> None:
        """Records with the same value come by name in code point order, ascending and descending alike."""
        storage.save_many(_model(name) for name in ("b", "ä", "B", "a"))
        for order in ("mse", "-mse"):
            _check(storage, ["B", "a", "b", "ä"], order_by=order)

    def test_order_compares_values_exactly(self, storage: AIStorage) -> None:
        """Order tells values apart that differ in the last bit or the last microsecond."""
        later = _START + timedelta(microseconds=1)
        storage.save_many(
            [
                _model("a", 0.30000000000000004, training_start=later),
                _model("b", 0.3, training_start=_START),
                _model("c", -1e300, training_start=datetime(1000, 1, 1, tzinfo=UTC)),
            ]
        )
        _check(storage, ["c", "b", "a"], order_by="mse")
        _check(storage, ["a", "b", "c"], order_by="-training_start")

    def test_prefix_is_compared_exactly(self, storage: AIStorage) -> None:
        """name_prefix minds case, accents and blanks, and knows no wildcards."""
        names = [
            "a",
            "A",
            "ab",
            "aB",
            "a b",
            "a%",
            "a_",
            "a*",
            "a[b]",
            "ä",
            "a\u0308",
            "a\U0010ffff",
            "\U0010ffff",
            "b",
        ]
        storage.save_many(_model(name) for name in names)
        prefixes = (
            "",
            "a",
            "A",
            "a%",
            "a_",
            "_",
            "%",
            "a*",
            "a[",
            "[ab]",
            "ä",
            "a\u0308",
            "a\U0010ffff",
            "\U0010ffff",
            "c",
        )
        for prefix in prefixes:
            wanted = sorted(name for name in names if name.startswith(prefix))
            _check(storage, wanted, name_prefix=prefix)

    def test_metadata_is_compared_with_its_type(self, storage: AIStorage) -> None:
        """A metadata condition matches equal values of the same type only."""
        values: dict[str, Any] = {
            "int": 1,
            "float": 1.0,
            "true": True,
            "text": "1",
            "null": None,
            "zero": 0,
            "false": False,
            "empty": "",
            "large": 10**16,
            "large float": 1e16,
            "list": [1],
            "float list": [1.0],
            "longer list": [1, 2],
            "twice": [1, 1],
            "no list": [],
            "object": {"x": 1},
            "float object": {"x": 1.0},
            "larger object": {"x": 1, "y": None},
            "no object": {},
        }
        storage.save_many(_model(name, metadata={"k": value}) for name, value in values.items())
        storage.save_progress(_model("without"))
        for name, value in values.items():
            _check(storage, [name], metadata={"k": value})

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
        storage.save_many(_model(name, metadata=value) for name, value in metadata.items())
        _check(storage, ["both", "more"], metadata={"a": 1, "b": 2})
        _check(storage, ["both", "more", "one"], metadata={"a": 1})
        _check(storage, sorted(metadata), metadata={})
        _check(storage, [], metadata={"missing": None})

    def test_conditions_hold_together(self, storage: AIStorage) -> None:
        """All conditions of a query must hold, and the limit counts matches only."""
        storage.save_many(
            _model(f"m{index}", index / 10, accuracy=index / 10, metadata={"even": index % 2 == 0})
            for index in range(10)
        )
        _check(
            storage,
            ["m2", "m4", "m6"],
            min_accuracy=0.1,
            max_mse=0.7,
            metadata={"even": True},
            name_prefix="m",
        )
        _check(storage, ["m2", "m4"], min_accuracy=0.1, metadata={"even": True}, limit=2)
        _check(storage, ["m8", "m6", "m4"], metadata={"even": True}, order_by="-mse", limit=3)

    def test_limit_cuts_the_answer(self, storage: AIStorage) -> None:
        """A limit returns so many at most; 0 returns none."""
        storage.save_many(_model(name) for name in "abc")
        for limit in (0, 1, 3, 4, 2**63 - 1):
            _check(storage, ["a", "b", "c"][:limit], limit=limit)

    def test_page_begins_behind_a_record_that_is_gone(self, storage: AIStorage) -> None:
        """`after` is a place in the order: the page begins behind it even if its record was deleted."""
        saved = storage.save_many(_model(name, 0.5 if name < "c" else 0.7) for name in "abcd")
        storage.delete_progress("b")
        _check(storage, ["c", "d"], after=saved[1])
        _check(storage, ["c", "d"], after=saved[1], order_by="mse")
        _check(storage, ["a"], after=saved[1], order_by="-model_name")

    def test_bad_query_is_refused(self, storage: AIStorage) -> None:
        """A bound of the wrong type, an unknown order or a negative limit raises InvalidProgressError."""
        storage.save_progress(_model("m"))
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
