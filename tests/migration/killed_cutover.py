"""An application writes while its cutover goes through all steps; both are killed at chosen lines, and resumed.

``python killed_cutover.py PLACE SEED KILLS`` prints as JSON how often it was killed, and what was found wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest_aistorage
from pytest_aistorage import AIProgress, AIStorage, CutoverStepError, FileStorage, open_storage
from pytest_aistorage.migration import Cutover, Step

PACKAGE = str(Path(pytest_aistorage.__file__).parent)
WATCHED = tuple(f"{PACKAGE}/{part}" for part in ("migration/", "backends/file.py", "backends/database.py"))
BEFORE = 40


class Run:
    """One way from the first step to the last, in a directory of its own.

    Args:
        place: the directory.
    """

    def __init__(self, place: Path) -> None:
        self.file, self.to = place / "training_metrics.json", f"sqlite:///{place / 'new.db'}"
        self.log = place / "log"
        place.mkdir()
        with FileStorage(self.file) as file:
            file.save_many(AIProgress(model_name=f"m{n:02}", mse=float(n)) for n in range(BEFORE))

    def go(self, mark: float) -> None:
        """Take every step that is not behind, and write in between.

        Args:
            mark: the value that this run writes.
        """
        with (
            open_storage(f"cutover://{self.file}", to=self.to) as app,
            Cutover(self.file, self.to) as cutover,
        ):
            steps: list[Callable[[], Any]] = [
                cutover.dual_write,
                lambda: cutover.verify(repair=True),
                cutover.switch,
                cutover.retire,
            ]
            for number, step in enumerate(steps):
                self.write(app, number, mark)
                while True:
                    try:
                        step()
                    except CutoverStepError as error:
                        if Step(error.current) in (Step.DUAL_WRITE, Step.NOT_BEGUN):
                            # Verified, and then a write was killed between the file and its note: once more.
                            cutover.verify(repair=True)
                            continue
                    break
            self.write(app, len(steps), mark)

    def write(self, app: AIStorage, number: int, mark: float) -> None:
        """Some writes; each is logged before it and after it."""
        one, other, gone = f"m{number:02}", f"new{number}", f"m{number + 10:02}"
        self.logged({one: mark}, lambda: app.save_progress(AIProgress(model_name=one, mse=mark)))
        batch = {f"m{number + 20:02}": mark, other: mark}
        self.logged(batch, lambda: app.save_many(AIProgress(model_name=n, mse=m) for n, m in batch.items()))
        self.logged({gone: None}, lambda: app.delete_progress(gone))

    def logged(self, values: Mapping[str, float | None], write: Callable[[], object]) -> None:
        """Do a write; whoever is killed in it leaves its beginning."""
        with open(self.log, "ab", buffering=0) as log:
            log.write(json.dumps(dict(values)).encode() + b"\n")
            write()
            log.write(b"done\n")

    def expected(self) -> tuple[dict[str, float], set[str]]:
        """What was acknowledged last, and models of which a later write was not."""
        values: dict[str, float | None] = {f"m{n:02}": float(n) for n in range(BEFORE)}
        begun: dict[str, float | None] = {}
        doubtful: set[str] = set()
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            if line == "done":
                values |= begun
                doubtful -= set(begun)
                begun = {}
            else:
                doubtful |= set(begun)
                begun = json.loads(line)
        return {name: value for name, value in values.items() if value is not None}, doubtful | set(begun)


def killed_at(run: Run, line: int, mark: float) -> int:
    """Let a child of this process go, until it is to execute a line; return how many it executed, -1 if killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        count = 0

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal count
            if not frame.f_code.co_filename.startswith(WATCHED):
                return None
            if event == "line":
                count += 1
                if count == line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        try:
            sys.settrace(trace)
            run.go(mark)
            sys.settrace(None)
            os.write(writing, str(count).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return -1
    return int(text) if text else 0


def wrong(run: Run) -> list[str]:
    """What the new storage holds that it should not, or does not."""
    values, doubtful = run.expected()
    with open_storage(run.to) as new, Cutover(run.file, run.to) as cutover:
        found = {record.model_name: record.mse for record in new.load_progress()}
        said = [] if cutover.status().step is Step.RETIRED else [f"the step is {cutover.status().step}"]
    differing = {name for name in {*values, *found} if values.get(name) != found.get(name)}
    return said + [
        f"{name}: {values.get(name)} -> {found.get(name)}" for name in sorted(differing - doubtful)
    ]


def main() -> None:
    """Kill as often as asked for."""
    place, seed, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    lines = killed_at(Run(place / "whole"), 0, 100.0)
    assert lines > 1000, "the child did not come to its end"
    rng = random.Random(seed)
    report: dict[str, Any] = {"lines": lines, "killed": 0, "wrong": {}}
    for number in range(kills):
        run = Run(place / str(number))
        at = [rng.randrange(1, lines)]
        report["killed"] += killed_at(run, at[0], 100.0) == -1
        if rng.random() < 0.5:  # and once more, while it is resumed
            at.append(rng.randrange(1, lines))
            report["killed"] += killed_at(run, at[1], 101.0) == -1
        if not killed_at(run, 0, 102.0):
            report["wrong"][str(at)] = ["the last run failed"]
        elif found := wrong(run):
            report["wrong"][str(at)] = found
    print(json.dumps(report))


if __name__ == "__main__":
    main()
