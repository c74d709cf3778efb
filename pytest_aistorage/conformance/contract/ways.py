"""Every way into a storage and every way out of it: what holds for one must hold for all."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from .checks import check_same, doing, found, shown

__all__ = ["WAYS_IN", "check_kept", "check_read", "given_to_change", "saved_by"]


class _Enough(Exception):
    """Ends an update whose change has seen what it was called for; nothing is written."""


def _compared(storage: AIStorage, progress: AIProgress) -> AIProgress:
    current = storage.get_progress(progress.model_name)
    return storage.save_progress(progress, expected_version=0 if current is None else current.version)


def _telling(
    way: str, save: Callable[[AIStorage, AIProgress], Any]
) -> Callable[[AIStorage, AIProgress], AIProgress]:
    def saved(storage: AIStorage, progress: AIProgress) -> AIProgress:
        done = f"{way} of {shown(progress)}"
        with doing(done):
            record = save(storage, progress)
        if not isinstance(record, AIProgress):
            pytest.fail(f"{done}: expected the stored record, got {shown(record)}", pytrace=False)
        return record

    return saved


WAYS_IN: Mapping[str, Callable[[AIStorage, AIProgress], AIProgress]] = MappingProxyType(
    {
        way: _telling(way, save)
        for way, save in {
            "save_progress": lambda storage, progress: storage.save_progress(progress),
            "save_progress(expected_version)": _compared,
            "save_many": lambda storage, progress: storage.save_many([progress])[0],
            "update_progress": lambda storage, progress: storage.update_progress(
                progress.model_name, lambda _: progress
            ),
        }.items()
    }
)
"""The operations that save a record, each called with one; they return what the storage returned."""


def saved_by(way: str, storage: AIStorage, progresses: Sequence[AIProgress]) -> list[AIProgress]:
    """Save records by one of the `WAYS_IN`, a batch where the way takes one; return what the storage returned."""
    if way == "save_many":
        with doing(f"save_many of {len(progresses)} records, the first of them {shown(progresses[0])}"):
            return storage.save_many(progresses)
    return [WAYS_IN[way](storage, progress) for progress in progresses]


def given_to_change(storage: AIStorage, model_name: str) -> AIProgress | None:
    """Return what update_progress gives to its change, and write nothing."""
    seen: list[AIProgress | None] = []

    def change(current: AIProgress | None) -> AIProgress:
        seen.append(current)
        raise _Enough

    done = f"update_progress({model_name!r}) whose change raises"
    with doing(done):
        try:
            returned = storage.update_progress(model_name, change)
        except _Enough:
            return seen[-1]
    pytest.fail(f"{done}: raised nothing and returned {shown(returned)}", pytrace=False)


def check_read(storage: AIStorage, wanted: Iterable[AIProgress], saving: str, rest: str = "") -> None:
    """Fail unless these records come by every way out, as they were given and with the same stamps.

    Args:
        storage: it may hold other records as well.
        wanted: as the caller gave them.
        saving: how they were saved, for the message, which goes on with the record.
        rest: what the message says behind the record.
    """
    ways: dict[str, Callable[[], list[AIProgress]]] = {
        "load_progress()": storage.load_progress,
        "iter_progress(batch_size=3)": lambda: list(storage.iter_progress(batch_size=3)),
        "query_progress(ProgressQuery())": lambda: storage.query_progress(ProgressQuery()),
    }
    listings: dict[str, list[AIProgress]] = {}
    for way, listed_by in ways.items():
        with doing(f"{saving} some records{rest}, then {way}"):
            listings[way] = listed_by()
        assert isinstance(listings[way], list), f"{way} returned no list: {shown(listings[way])}"
    listed = {way: {record.model_name: record for record in records} for way, records in listings.items()}
    for progress in wanted:
        name = progress.model_name
        done = f"{saving} {shown(progress)}{rest}"
        got = check_same(f"{done}, then get_progress", progress, found(storage, name, done))
        for way, records in listed.items():
            check_same(f"{done}, then {way}, compared with get_progress", got, records.get(name), stamps=True)
        check_same(
            f"{done}, then update_progress: what its change is given, compared with get_progress",
            got,
            given_to_change(storage, name),
            stamps=True,
        )


def check_kept(storage: AIStorage, *progresses: AIProgress, over: AIProgress | None = None) -> None:
    """Save records by every way in, and fail unless each comes back exactly by every way out.

    Each way has models of its own, whose names begin with it.

    Args:
        storage: where.
        progresses: the records.
        over: what the models hold before; None: nothing, unless they were saved earlier.
    """
    before = "" if over is None else f" in place of {shown(over)}"
    everything: list[AIProgress] = []
    for way in WAYS_IN:
        records = [
            dataclasses.replace(progress, model_name=f"{way}: {progress.model_name}"[:255])
            for progress in progresses
        ]
        if over is not None:
            storage.save_many(dataclasses.replace(over, model_name=record.model_name) for record in records)
        given = [copy.deepcopy(record.metadata) for record in records]
        returned = saved_by(way, storage, records)
        for record, metadata, got in zip(records, given, returned, strict=True):
            done = f"{way} of {shown(record)}{before}"
            assert record.metadata == metadata, (
                f"{done} changed the metadata that the caller gave: {metadata!r}"
            )
            check_same(f"{done} returned", record, got)
        everything += records
    check_read(storage, everything, "saving", before)
