"""Races between clients of one store: chosen interleavings, stress runs, and the ledger of what was lost.

`run_schedule` runs one interleaving by its name, `schedules` runs all there are, `run_race` lets many clients
loose at once and compares what they were told with what was kept.
"""

from __future__ import annotations

from .clients import Client, ClientPool
from .controller import LockProbe, Run, Scenario, run_schedule, schedules
from .errors import NotSharedError, RaceError, StuckError
from .ledger import Attempt, Balance, balance
from .outcomes import Outcome
from .probes import probe_for
from .schedule import Schedule, Step
from .seams import Failpoints, FileSeams, Seams
from .stress import RaceResult, run_race
from .workloads import Counter, DistinctModels, SameModel, Workload

__all__ = [
    "Attempt",
    "Balance",
    "Client",
    "ClientPool",
    "Counter",
    "DistinctModels",
    "Failpoints",
    "FileSeams",
    "LockProbe",
    "NotSharedError",
    "Outcome",
    "RaceError",
    "RaceResult",
    "Run",
    "SameModel",
    "Scenario",
    "Schedule",
    "Seams",
    "Step",
    "StuckError",
    "Workload",
    "balance",
    "probe_for",
    "run_race",
    "run_schedule",
    "schedules",
]
