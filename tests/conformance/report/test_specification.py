"""The specification of version 1.0 is frozen: no contract test comes, goes or changes its scope unnoticed."""

from __future__ import annotations

from pathlib import Path

from pytest_aistorage.conformance.report import SPEC
from pytest_aistorage.conformance.report.judging import GUARANTEES
from pytest_aistorage.conformance.report.specification import specified

FROZEN = Path(__file__).with_name(f"spec-{SPEC}.txt")


def lines() -> list[str]:
    """Return a line a contract test: its name, and on which storages it applies."""
    return sorted(
        " ".join([name, *one.requires, *([] if one.unless is None else [f"unless={one.unless}"])])
        for name, one in specified().items()
    )


def test_specification_is_frozen() -> None:
    """A difference needs a new `SPEC`, see there; before the first release, ``python test_specification.py``."""
    frozen = FROZEN.read_text(encoding="utf-8").splitlines()
    assert lines() == frozen, (
        f"contract tests differ from {FROZEN.name}\n  gone: {sorted(set(frozen) - set(lines()))}\n"
        f"  new:  {sorted(set(lines()) - set(frozen))}"
    )


def test_specification_knows_areas_and_guarantees() -> None:
    """Every contract test has an area, and is about guarantees that there are."""
    for name, one in specified().items():
        assert one.area, name
        assert {*one.requires, *([one.unless] if one.unless else [])} <= set(GUARANTEES), name


if __name__ == "__main__":
    FROZEN.write_text("\n".join([*lines(), ""]), encoding="utf-8")
