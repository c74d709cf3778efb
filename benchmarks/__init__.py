"""What pytest-aistorage costs, beside what it is compared with, in one run: ``python -m benchmarks [NAME...]``."""
