"""Install the one wheel of a directory, with its extras, into a virtual environment: `install.py DIST VENV`."""

from __future__ import annotations

import pathlib
import subprocess
import sys


def main(dist: pathlib.Path, environment: pathlib.Path) -> None:
    """Install ``DIST/*.whl[embedded,conformance]`` by the environment's own pip."""
    (wheel,) = dist.glob("*.whl")
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"{wheel}[embedded,conformance]"], check=True)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
