"""Faults in listings and queries."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from pytest_aistorage import AIProgress, InvalidProgressError, ProgressQuery, StorageUnavailableError
from pytest_aistorage.codec import metadata_to_text
from pytest_aistorage.queries import run_query
from pytest_aistorage.validation import checked_query

from .delegating import Delegating, turns_red


@turns_red("empty_store_lists_nothing")
class EmptyStoreHasAPlaceholder(Delegating):
    """An empty store lists an empty record, out of a LEFT JOIN."""

    def load_progress(self) -> list[AIProgress]:
        return super().load_progress() or [AIProgress(model_name="", mse=0.0)]


@turns_red("listing_is_ordered_by_code_point", "any_names_are_listed_in_order")
class OrderedByLocale(Delegating):
    """Names are ordered as a dictionary would."""

    def load_progress(self) -> list[AIProgress]:
        return sorted(super().load_progress(), key=lambda r: (r.model_name.casefold(), r.model_name))


@turns_red("listing_is_ordered_by_code_point")
class OrderedByUtf16(Delegating):
    """Names are ordered by UTF-16 code units, as in Java and JavaScript."""

    def load_progress(self) -> list[AIProgress]:
        return sorted(super().load_progress(), key=lambda r: r.model_name.encode("utf-16-be"))


@turns_red("any_names_are_listed_in_order", "listing_is_ordered_by_code_point")
class OrderOfInsertion(Delegating):
    """A listing without ORDER BY."""

    def load_progress(self) -> list[AIProgress]:
        return sorted(super().load_progress(), key=lambda r: (r.created_at, len(r.model_name), r.model_name))


@turns_red("iteration_yields_each_once_for_every_batch_size")
class IterationEndsAtAFullBatch(Delegating):
    """The last batch is dropped if it is full."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        records = list(super().iter_progress(batch_size=batch_size))
        full = records and len(records) % batch_size == 0
        return iter(records[:-batch_size] if full else records)


@turns_red("iteration_yields_each_once_for_every_batch_size")
class IterationRepeatsTheLast(Delegating):
    """A page begins with the last record of the page before: >= instead of >."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        records = list(super().iter_progress(batch_size=batch_size))
        return (r for i, r in enumerate(records) for _ in range(2 if i and i % batch_size == 0 else 1))


@turns_red("listing_of_many_models_is_complete")
class ListsAThousand(Delegating):
    """A default LIMIT."""

    def load_progress(self) -> list[AIProgress]:
        return super().load_progress()[:1000]


@turns_red("bad_batch_size_is_refused")
class BatchSizeCheckedLate(Delegating):
    """A generator checks its arguments with the first record."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        yield from super().iter_progress(batch_size=batch_size)


@turns_red("iteration_while_others_write")
class PagesByOffset(Delegating):
    """LIMIT and OFFSET: what others insert or delete moves the pages."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        super().iter_progress(batch_size=batch_size)
        return self._pages(batch_size)

    def _pages(self, size: int) -> Iterator[AIProgress]:
        offset = 0
        while page := self.load_progress()[offset : offset + size]:
            yield from page
            offset += size


@turns_red("unfinished_iteration_hinders_nobody", by=(StorageUnavailableError,))
class IterationHoldsATransaction(Delegating):
    """While an iteration is open, nobody can write."""

    _iterating = 0

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        super().iter_progress(batch_size=batch_size)
        return self._locked(batch_size)

    def _locked(self, size: int) -> Iterator[AIProgress]:
        type(self)._iterating += 1
        try:
            yield from self.inner.iter_progress(batch_size=size)
        finally:
            type(self)._iterating -= 1

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        if self._iterating:
            raise StorageUnavailableError("database is locked")
        return super().save_progress(progress, **options)


@turns_red("listing_leaves_out_nothing_that_was_saved_before")
class ListingCached(Delegating):
    """A listing is kept for the next caller."""

    _cached: list[AIProgress] | None = None

    def load_progress(self) -> list[AIProgress]:
        if not self._cached:
            self._cached = super().load_progress()
        return self._cached


@turns_red("listing_is_one_moment")
class ListingOneByOne(Delegating):
    """A listing reads the names, and then each record."""

    def load_progress(self) -> list[AIProgress]:
        found = []
        for name in [record.model_name for record in self.inner.load_progress()]:
            if (record := self.inner.get_progress(name)) is not None:
                found.append(record)
            time.sleep(0.0002)  # as long as a round trip
        return found


class Querying(Delegating):
    """Answers queries by itself, as the specification does, but for one step."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        return self.answered(checked_query(query), self.inner.load_progress())

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        """The answer; the good one by default."""
        return run_query(query, records)


def _order(query: ProgressQuery) -> tuple[str, bool]:
    return query.order_by.removeprefix("-"), query.order_by.startswith("-")


@turns_red("query_of_nothing_returns_all")
class QueryLimitsByDefault(Querying):
    """A query without a limit returns a page."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        return super().answered(query, records)[:20]


@turns_red("bounds_are_inclusive", "any_query_agrees_with_the_specification")
class ExclusiveBounds(Querying):
    """< for <=."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        return [r for r in super().answered(query, records) if query.max_mse is None or r.mse < query.max_mse]


@turns_red("updated_since_takes_any_zone")
class BoundsZoneDropped(Querying):
    """The zone of a bound is cut off."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        since = query.updated_since if isinstance(query, ProgressQuery) else None
        if since is not None and since.tzinfo is not None:
            query = dataclasses.replace(query, updated_since=since.replace(tzinfo=UTC))
        return super().query_progress(query)


@turns_red("absent_values_match_no_bound")
class AbsentIsZero(Querying):
    """COALESCE(accuracy, 0)."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        filled = [r if r.accuracy is not None else dataclasses.replace(r, accuracy=0.0) for r in records]
        return super().answered(query, filled)


@turns_red("absent_values_come_last", "any_query_agrees_with_the_specification")
class AbsentComesFirst(Querying):
    """NULLs come first, as in MySQL and SQLite."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        field, _ = _order(query)
        found = super().answered(query, records)
        return sorted(found, key=lambda record: getattr(record, field) is not None)


@turns_red("ties_are_ordered_by_name", "any_query_agrees_with_the_specification")
class TiesDescendToo(Querying):
    """ORDER BY mse DESC, model_name DESC."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        field, descending = _order(query)
        found = super().answered(query, records)
        if not descending or field == "model_name":
            return found
        groups: dict[Any, list[AIProgress]] = {}
        for record in found:
            groups.setdefault(getattr(record, field), []).insert(0, record)
        return [record for group in groups.values() for record in group]


@turns_red("order_compares_values_exactly")
class OrderRounds(Querying):
    """Values are ordered by what is printed of them."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        field, descending = _order(query)
        found = super().answered(query, records)
        if field != "mse":
            return found
        found.sort(key=lambda record: record.model_name)
        return sorted(found, key=lambda record: float(f"{record.mse:.6g}"), reverse=descending)


@turns_red("prefix_is_compared_exactly", "any_query_agrees_with_the_specification")
class PrefixIgnoresCase(Querying):
    """SQLite's LIKE."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        prefix = (query.name_prefix or "").casefold()
        found = [record for record in records if record.model_name.casefold().startswith(prefix)]
        return super().answered(dataclasses.replace(query, name_prefix=None), found)


@turns_red("prefix_is_compared_exactly")
class PrefixKnowsWildcards(Querying):
    """LIKE without an escape."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        prefix = query.name_prefix or ""
        wild = dataclasses.replace(query, name_prefix=prefix.partition("%")[0])
        return super().answered(wild, records)


@turns_red("metadata_is_compared_with_its_type", "any_query_agrees_with_the_specification")
class MetadataComparedByEquality(Querying):
    """Python's ==, to which True is 1 and 1 is 1.0."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        wanted = query.metadata or {}
        found = [
            r for r in records if all(key in r.metadata and r.metadata[key] == wanted[key] for key in wanted)
        ]
        return super().answered(dataclasses.replace(query, metadata=None), found)


@turns_red("metadata_is_compared_with_its_type")
class MetadataContained(Querying):
    """JSONB's @> alone: a list that holds more contains it, too."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        def contains(whole: Any, part: Any) -> bool:
            if isinstance(part, dict) and isinstance(whole, dict):
                return all(key in whole and contains(whole[key], part[key]) for key in part)
            if isinstance(part, list) and isinstance(whole, list):
                return all(any(contains(item, wanted) for item in whole) for wanted in part)
            return type(whole) is type(part) and bool(whole == part)

        found = [r for r in records if contains(dict(r.metadata), dict(query.metadata or {}))]
        return super().answered(dataclasses.replace(query, metadata=None), found)


@turns_red("metadata_is_compared_at_top_level_keys")
class MetadataComparedAsText(Querying):
    """The condition is looked for anywhere in the text."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        parts = [metadata_to_text({key: value})[1:-1] for key, value in (query.metadata or {}).items()]
        found = [r for r in records if all(part in metadata_to_text(r.metadata) for part in parts)]
        return super().answered(dataclasses.replace(query, metadata=None), found)


@turns_red("conditions_hold_together")
class LimitBeforeMetadata(Querying):
    """The limit is applied by the server, and metadata by the client."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        page = super().answered(dataclasses.replace(query, metadata=None), records)
        return super().answered(dataclasses.replace(query, after=None), page)


@turns_red("limit_cuts_the_answer")
class LimitZeroIsNone(Querying):
    """if limit: …"""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        return super().answered(dataclasses.replace(query, limit=query.limit or None), records)


@turns_red("page_begins_behind_a_record_that_is_gone")
class PageNeedsItsPlace(Querying):
    """The record of the page before is looked up, and where it is gone the pages end."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        if query.after is not None and query.after.model_name not in {r.model_name for r in records}:
            return []
        return super().answered(query, records)


@turns_red("paging_by_any_order_visits_each_match_once")
class PagingSkipsTies(Querying):
    """A page begins behind the value of the last record, without its name."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        field, _ = _order(query)
        if query.after is None or field == "model_name":
            return super().answered(query, records)
        value = getattr(query.after, field)
        return super().answered(query, [r for r in records if getattr(r, field) != value])


@turns_red("paging_by_any_order_visits_each_match_once")
class PagingEndsAtTheAbsent(Querying):
    """NULL is greater than nothing: records without the value are on no second page."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        field, _ = _order(query)
        if query.after is not None:
            records = [r for r in records if getattr(r, field) is not None]
        return super().answered(query, records)


@turns_red("bad_query_is_refused")
class UnknownOrderIsByName(Querying):
    """What is no field is ordered by name."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        try:
            return super().query_progress(query)
        except InvalidProgressError as error:
            if error.field != "order_by":
                raise
            return super().query_progress(dataclasses.replace(query, order_by="model_name"))


@turns_red("paging_by_any_order_visits_each_match_once")
class ExclusiveToOthersByName(Querying):
    """A page by name descending begins before its place."""

    def answered(self, query: ProgressQuery, records: list[AIProgress]) -> list[AIProgress]:
        if query.after is not None and query.order_by == "-model_name":
            records = [r for r in records if r.model_name > query.after.model_name]
            query = dataclasses.replace(query, after=None)
        return super().answered(query, records)
