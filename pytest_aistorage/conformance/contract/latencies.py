"""How long a save and a get take: measured for the report, judged by nobody."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from ...progress import AIProgress
from ...storage import AIStorage
from ..effort import active
from .checks import check_same, found
from .clients import Clients, ContractBase

__all__ = ["LatencyContract"]

_ROUNDS = {"quick": 30, "normal": 100, "thorough": 500}
_MODELS = 10  # the store is small: what is measured is an operation, and not a listing
_SAMPLES = 200  # a plot shows no more


class LatencyContract(ContractBase):
    """The same small work over and over."""

    area = "latency"

    def test_latencies_are_measured(self, storage: AIStorage, clients: Clients) -> None:
        """Saves and gets in a row each give back what was saved; how long they took is in the report."""
        took: dict[str, list[float]] = {"save": [], "get": []}
        for number in range(_ROUNDS[active()[0].name]):
            record = AIProgress(model_name=f"m{number % _MODELS}", mse=number / 8, training_samples=number)
            began = time.perf_counter()
            saved = storage.save_progress(record)
            after_save = time.perf_counter()
            got = found(storage, record.model_name, f"save {number + 1} in a row, then get")
            ended = time.perf_counter()
            check_same(f"save {number + 1} in a row, what it returned", record, saved)
            check_same(f"save {number + 1} in a row, then get", saved, got, stamps=True)
            took["save"].append((after_save - began) * 1000)
            took["get"].append((ended - after_save) * 1000)
        clients.facts["latencies"] = {operation: _summary(times) for operation, times in took.items()}


def _summary(times: Sequence[float]) -> dict[str, Any]:
    """Milliseconds as the report has them, to the tenth of a microsecond."""
    ordered = [round(one, 4) for one in sorted(times)]
    last = len(ordered) - 1
    most = min(_SAMPLES, len(ordered))
    return {
        "count": len(ordered),
        "p50": ordered[math.ceil(0.5 * len(ordered)) - 1],
        "p99": ordered[math.ceil(0.99 * len(ordered)) - 1],
        "samples": [ordered[round(place * last / (most - 1))] for place in range(most)],
    }
