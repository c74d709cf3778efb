"""What the ways to list a storage show, for tests that compare them."""

from __future__ import annotations

from pytest_aistorage import AIStorage, ProgressQuery


def names_by_each_way(storage: AIStorage) -> list[list[str]]:
    """The models that each way to list them shows."""
    ways = (
        storage.load_progress(),
        storage.iter_progress(batch_size=7),
        storage.query_progress(ProgressQuery()),
    )
    return [[record.model_name for record in way] for way in ways]
