"""``python -m pytest_aistorage.cli``, where the command is not on the path."""

from __future__ import annotations

from . import main

main(prog_name="aistorage")
