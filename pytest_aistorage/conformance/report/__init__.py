"""The report of a run of the conformance suite: what was tested, what was shown of it, and what was not.

`results` holds what came of each test, `judging` what follows from it, the modules ``as_*`` write it down.
"""

from __future__ import annotations

from .as_json import report_from_json, report_to_json
from .comparing import differences, worsened
from .results import SPEC, Backend, Latencies, Report, Status, Step, TestResult, Violation

__all__ = [
    "SPEC",
    "Backend",
    "Latencies",
    "Report",
    "Status",
    "Step",
    "TestResult",
    "Violation",
    "differences",
    "report_from_json",
    "report_to_json",
    "worsened",
]
