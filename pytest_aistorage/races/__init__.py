"""Races between clients of one store: chosen interleavings, stress runs, and the ledger of what was lost.

`run_schedule` runs one interleaving by its name, `schedules` runs all there are, `run_race` lets many clients
loose at once and compares what they were told with what was kept. `check_linearizable` judges a recorded `History`.
"""

from __future__ import annotations

from .checker import Check, Verdict, Violation, check_linearizable
from .clients import Client, ClientPool
from .controller import LockProbe, Run, Scenario, run_schedule, schedules
from .errors import NotSharedError, RaceError, StuckError
from .history import Fault, History, Operation, Part
from .ledger import Balance, balance
from .outcomes import Outcome
from .probes import probe_for
from .schedule import Schedule, Step
from .seams import Failpoints, FileSeams, Seams
from .stress import RaceResult, run_race
from .workloads import (
    BatchesUnderReads,
    Churn,
    Counter,
    DistinctModels,
    Functions,
    ListingUnderWrites,
    Register,
    SameModel,
    Workload,
)

__all__ = [
    "Balance",
    "BatchesUnderReads",
    "Check",
    "Churn",
    "Client",
    "ClientPool",
    "Counter",
    "DistinctModels",
    "Failpoints",
    "Fault",
    "FileSeams",
    "Functions",
    "History",
    "ListingUnderWrites",
    "LockProbe",
    "NotSharedError",
    "Operation",
    "Outcome",
    "Part",
    "RaceError",
    "RaceResult",
    "Register",
    "Run",
    "SameModel",
    "Scenario",
    "Schedule",
    "Seams",
    "Step",
    "StuckError",
    "Verdict",
    "Violation",
    "Workload",
    "balance",
    "check_linearizable",
    "probe_for",
    "run_race",
    "run_schedule",
    "schedules",
]
