"""What all tests share: pytester, for those of the plugin; how hard Hypothesis tries."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# A busy machine is no fault of what is tested: no deadline, and no complaint about slow generation.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", _patient)
# "ci": the same examples in every run, so that a failure is the change's. "nightly" looks for new ones.
settings.register_profile("ci", _patient, derandomize=True, print_blob=True)
settings.register_profile("nightly", _patient, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "local"))
