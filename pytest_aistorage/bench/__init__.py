"""What storages cost, measured on this machine beside what they are compared with, and what of it is proven.

`aistorage bench` shows it to users; the developers' ``python -m benchmarks`` measures by the same code.
"""

from __future__ import annotations

__all__ = ["MEASURED"]

MEASURED = ("table", "hybrid", "peers", "operations", "growth")
"""The benchmarks, a module each with a function ``run(settings)``, in the order in which they are shown."""
