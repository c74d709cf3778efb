"""What figures were measured on, and how busy it was."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["Machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine at one moment.

    Attributes:
        system: and its kind of processor.
        python: its version.
        cpus: how many processors this process may use.
        load: how many processes wanted a processor, on average over the last minute; None where that is not told.
        measured: when, in local time.
    """

    system: str
    python: str
    cpus: int
    load: float | None
    measured: str

    @classmethod
    def now(cls) -> Self:
        """Look at this one."""
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return cls(
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            cpus=allowed or 1,
            load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            measured=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        )

    def line(self, after: Machine) -> str:
        """Return it, and the load when all was measured, in one line.

        Args:
            after: the machine then.
        """
        processors = f"{self.cpus} processor{'' if self.cpus == 1 else 's'}"
        load = (
            f", load {self.load:g} before and {after.load:g} after"
            if self.load is not None and after.load is not None
            else ""
        )
        return f"{self.measured}: {self.system}, {processors}, Python {self.python}{load}"

    def busy(self, after: Machine) -> str | None:
        """Return a warning if there was more to do than this benchmark, else None.

        Args:
            after: the machine when all was measured.
        """
        load = max(self.load or 0.0, after.load or 0.0)
        if load <= self.cpus:
            return None
        return f"the machine had other work (load {load:g}): measure again when it is quiet"

    def document(self) -> dict[str, Any]:
        """Return it as what JSON can say."""
        return asdict(self)
