"""Faults in queries, paging and iterations that only certain values, or certain moments, show."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

from pytest_aistorage import AIProgress, ProgressQuery, StorageUnavailableError
from pytest_aistorage.queries import matches, run_query, same_json
from pytest_aistorage.validation import checked_query

from .delegating import Delegating, turns_red


class Asking(Delegating):
    """Answers queries itself, from all the records."""

    def asked(self, query: ProgressQuery) -> ProgressQuery:
        """The query that is answered."""
        return query

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        return run_query(self.asked(checked_query(query)), self.inner.load_progress())


@turns_red("bounds_of_zero_and_below_are_bounds")
class FalsyBoundIsNone(Asking):
    """``if query.min_training_samples:``."""

    def asked(self, query: ProgressQuery) -> ProgressQuery:
        return dataclasses.replace(query, min_training_samples=query.min_training_samples or None)


@turns_red("updated_since_is_about_the_last_change")
class SinceCreated(Delegating):
    """updated_since is compared with created_at."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        since = checked_query(query).updated_since
        found = super().query_progress(dataclasses.replace(query, updated_since=None, limit=None))
        found = [record for record in found if since is None or (record.created_at or since) >= since]
        return found if query.limit is None else found[: query.limit]


@turns_red("order_by_every_field")
class OrdersByText(Asking):
    """Whole numbers are ordered by their text."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        checked = checked_query(query)
        if checked.order_by.removeprefix("-") not in ("training_samples", "version"):
            return super().query_progress(query)
        field = checked.order_by.removeprefix("-")
        found = [record for record in self.inner.load_progress() if matches(checked, record)]
        found.sort(key=lambda record: str(getattr(record, field)), reverse=checked.order_by.startswith("-"))
        return found if checked.limit is None else found[: checked.limit]


@turns_red("order_by_every_field")
class OrdersByCreationForUpdate(Asking):
    """order_by="updated_at" takes the index of created_at."""

    def asked(self, query: ProgressQuery) -> ProgressQuery:
        return dataclasses.replace(query, order_by=query.order_by.replace("updated", "created"))


@turns_red("metadata_keys_are_compared_exactly")
class DottedKeyIsAPath(Asking):
    """A condition on ``a.b`` looks into ``a``, too."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        checked = checked_query(query)
        found = run_query(dataclasses.replace(checked, metadata=None, limit=None), self.inner.load_progress())

        def at(metadata: Any, key: str) -> object:
            if key in metadata:
                return metadata[key]
            first, _, rest = key.partition(".")
            inside = metadata.get(first)
            return inside.get(rest, KeyError) if isinstance(inside, dict) else KeyError

        wanted = checked.metadata or {}
        found = [
            record
            for record in found
            if all(same_json(at(record.metadata, key), value) for key, value in wanted.items())
        ]
        return found if checked.limit is None else found[: checked.limit]


@turns_red("prefix_is_compared_exactly")
class PrefixOfTenCharacters(Asking):
    """The index holds the first ten characters of a name."""

    def asked(self, query: ProgressQuery) -> ProgressQuery:
        prefix = query.name_prefix
        return dataclasses.replace(query, name_prefix=prefix if prefix is None else prefix[:10])


@turns_red("page_begins_behind_the_record_as_it_was_given")
class PageBeginsWhereTheRecordIsNow(Asking):
    """The place is looked up by the name of the last record."""

    def asked(self, query: ProgressQuery) -> ProgressQuery:
        now = query.after and self.inner.get_progress(query.after.model_name)
        return dataclasses.replace(query, after=now or query.after)


@turns_red("page_may_begin_behind_what_does_not_match")
class PageBeginsBehindAMatch(Asking):
    """The page before is asked for again, and its last record sought in it."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        checked = checked_query(query)
        if checked.after is not None and not matches(checked, checked.after):
            return []
        return super().query_progress(query)


@turns_red("iteration_is_in_bounded_memory")
class IterationHoldsAll(Delegating):
    """An iteration is a listing, record by record."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        return iter(copy.deepcopy(list(super().iter_progress(batch_size=batch_size))))


@turns_red("iteration_goes_on_where_its_last_record_is_deleted")
class IterationLosesItsPlace(Delegating):
    """The next batch begins behind the last record, if that is still there."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        for number, record in enumerate(super().iter_progress(batch_size=batch_size), start=1):
            yield record
            if number % batch_size == 0 and self.inner.get_progress(record.model_name) is None:
                return


@turns_red("iterations_do_not_share_their_place")
class OneCursor(Delegating):
    """A client has one cursor, and every iteration moves it."""

    _place = ""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        records = super().iter_progress(batch_size=batch_size)
        self._place = ""

        def yielded() -> Iterator[AIProgress]:
            for record in records:
                if record.model_name > self._place:
                    self._place = record.model_name
                    yield record

        return yielded()


@turns_red("iteration_cut_short_leaves_nothing_behind", by=(StorageUnavailableError,))
class IterationKeepsItsConnection(Delegating):
    """An iteration gives its connection back only at its end; there are twenty."""

    _open = 0

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        records = super().iter_progress(batch_size=batch_size)

        def yielded() -> Iterator[AIProgress]:
            if self._open == 20:
                raise StorageUnavailableError("the pool of connections is exhausted")
            self._open += 1
            yield from records
            self._open -= 1

        return yielded()


@turns_red("conditions_hold_together")
class LimitAndPrefixOneTooMany(Asking):
    """Beside a prefix the limit fetches one more, to know whether there is a page behind, and returns it."""

    def asked(self, query: ProgressQuery) -> ProgressQuery:
        if not query.name_prefix or not query.limit:
            return query
        return dataclasses.replace(query, limit=query.limit + 1)


@turns_red("bounds_are_inclusive")
class BoundClampedToTheColumn(Asking):
    """A bound beyond the column's type is set to its limit, and then something meets it."""

    def asked(self, query: ProgressQuery) -> ProgressQuery:
        least = query.min_training_samples
        return dataclasses.replace(
            query, min_training_samples=None if least is None else min(least, 2**31 - 1)
        )


@turns_red("paging_by_any_order_visits_each_match_once")
class NearlyEqualIsATie(Asking):
    """Behind a float, what is nearly equal to it is taken for a tie that was shown."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        place = query.after
        found = super().query_progress(query)
        if place is None or not isinstance(place, AIProgress):
            return found
        return [record for record in found if not 0 < abs(record.mse - place.mse) < 1e-12]


@turns_red("metadata_is_compared_with_its_type")
class LongTextsComparedByTheirBeginning(Asking):
    """The index of the metadata holds the first hundred characters of a text."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        checked = checked_query(query)

        def begun(value: Any) -> Any:
            return value[:100] if isinstance(value, str) else value

        found = run_query(dataclasses.replace(checked, metadata=None, limit=None), self.inner.load_progress())
        found = [
            record
            for record in found
            if all(
                key in record.metadata and same_json(begun(record.metadata[key]), begun(value))
                for key, value in (checked.metadata or {}).items()
            )
        ]
        return found if checked.limit is None else found[: checked.limit]


@turns_red("iteration_while_others_write")
class IterationYieldsTheReborn(Delegating):
    """A model that comes back during an iteration is yielded a second time, in its new life."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        seen = {}
        for record in super().iter_progress(batch_size=batch_size):
            seen[record.model_name] = record.created_at
            yield record
        for name, created_at in seen.items():
            now = self.inner.get_progress(name)
            if now is not None and now.created_at != created_at:
                yield now
