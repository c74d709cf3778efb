"""What all tests share: pytester, for those of the plugin; how hard Hypothesis tries."""

import os

from hypothesis import settings

pytest_plugins = ["pytester"]

# "ci": the same examples in every run, so that a failure is the change's. "nightly" looks for new ones.
settings.register_profile("ci", derandomize=True, print_blob=True)
settings.register_profile("nightly", max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))
