"""query_progress page by page: ``limit`` and ``after``."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

from ...progress import AIProgress, ProgressQuery
from ...queries import run_query
from ...storage import AIStorage
from .. import strategies
from .checks import check_names, names_of
from .clients import ContractBase
from .queries import check_query, model

__all__ = ["PagingContract"]

_START = datetime(2024, 5, 1, tzinfo=UTC)


class PagingContract(ContractBase):
    """``limit`` and ``after``."""

    area = "queries"

    def test_paging_by_any_order_visits_each_match_once(self, storage: AIStorage) -> None:
        """Page after page by `after`, each match comes once and in order, for every order and page size."""
        moments = (None, _START, _START + timedelta(microseconds=1))
        storage.save_many(
            model(
                name,
                (0.5, 0.25, 0.5000000000000001)[index % 3],
                accuracy=(None, 0.1, 0.30000000000000004, 0.3)[index % 4],
                cross_validation_score=(0.3, None)[index % 2],
                training_samples=(7, None, 7)[index % 3],
                training_start=moments[index % 3],
                training_end=moments[(index + 1) % 3],
            )
            for index, name in enumerate(("a", "A", "b", "ä", "c", "d", "\uffff", "\U00010000"))
        )
        storage.save_progress(model("b", 0.5, accuracy=0.1))
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

    def test_limit_cuts_the_answer(self, storage: AIStorage) -> None:
        """A limit returns so many at most; 0 returns none."""
        storage.save_many(model(name) for name in "abc")
        for limit in (0, 1, 2, 3, 4, 2**31 - 1, 2**31, 2**32, 2**63 - 1):
            check_query(storage, ["a", "b", "c"][:limit], limit=limit)
            check_query(storage, ["c", "b", "a"][:limit], limit=limit, order_by="-model_name")
            check_query(storage, ["b"][:limit], limit=limit, name_prefix="b")

    def test_page_begins_behind_a_record_that_is_gone(self, storage: AIStorage) -> None:
        """`after` is a place in the order: the page begins behind it even if its record was deleted."""
        saved = storage.save_many(model(name, 0.5 if name < "c" else 0.7) for name in "abcd")
        storage.delete_progress("b")
        check_query(storage, ["c", "d"], after=saved[1])
        check_query(storage, ["c", "d"], after=saved[1], order_by="mse")
        check_query(storage, ["a"], after=saved[1], order_by="-model_name")

    def test_page_begins_behind_the_record_as_it_was_given(self, storage: AIStorage) -> None:
        """`after` counts as it was when the page before ended, though its model has changed since."""
        saved = storage.save_many(model(name, 0.1 * index) for index, name in enumerate("abcd", start=1))
        storage.save_progress(model("b", 9.0))
        check_query(storage, ["c", "d", "b"], after=saved[1], order_by="mse")
        check_query(storage, ["a"], after=saved[1], order_by="-mse")
        storage.save_progress(model("c", -9.0))
        check_query(storage, ["d", "b"], after=saved[2], order_by="mse")
        check_query(storage, ["a"], after=saved[2], order_by="-mse", limit=1)

    def test_page_may_begin_behind_what_does_not_match(self, storage: AIStorage) -> None:
        """`after` is a place in the order, also where its record meets none of the conditions."""
        saved = storage.save_many(model(name, 0.5, accuracy=0.1 * ord(name)) for name in "abcd")
        check_query(storage, ["c", "d"], after=saved[1], min_accuracy=9.85)
        check_query(
            storage,
            ["d", "c"],
            after=dataclasses.replace(saved[3], accuracy=99.0),
            order_by="-accuracy",
            limit=2,
        )
