"""What the caller holds and what is stored are two things: changing the one leaves the other alone."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from .checks import check_names, check_same
from .clients import ContractBase

__all__ = ["OwnershipContract"]


class OwnershipContract(ContractBase):
    """No reference leaks, in either direction."""

    area = "records"

    def test_changing_the_input_does_not_reach_the_store(self, storage: AIStorage) -> None:
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

    def test_changing_a_returned_list_does_not_reach_the_store(self, storage: AIStorage) -> None:
        """What the caller does to a list that it got does not change the next one."""
        batch = [AIProgress(model_name=name, mse=0.5) for name in "ab"]
        storage.save_many(batch)
        ways: dict[str, Callable[[], list[AIProgress]]] = {
            "load_progress": lambda: storage.load_progress(),
            "query_progress": lambda: storage.query_progress(ProgressQuery()),
            "save_many": lambda: storage.save_many(batch),
        }
        for way, returned in ways.items():
            for _ in range(2):
                records = returned()
                check_names(way, ["a", "b"], records)
                records.clear()
        check_names(
            "load_progress, after the lists returned earlier were emptied",
            ["a", "b"],
            storage.load_progress(),
        )
