"""What all tests share: pytester, for those of the plugin; how hard Hypothesis tries; no silent skip in CI."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from pytest_aistorage.conformance.excuses import excuse_in

pytest_plugins = ["pytester"]

# A busy machine is no fault of what is tested: no deadline, and no complaint about slow generation.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", _patient)
# "ci": the same examples in every run, so that a failure is the change's. "nightly" looks for new ones.
settings.register_profile("ci", _patient, derandomize=True, print_blob=True)
settings.register_profile("nightly", _patient, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "local"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a failure of every skip in CI, where everything is installed.

    A contract test may still not apply, or say that it could show nothing; the suite's own report counts those.
    """
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if excuse_in(reason.removeprefix("Skipped: ")) is None:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped, which is a failure in CI: {reason}"
    return report
