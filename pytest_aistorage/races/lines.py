"""Line seams: a client can be stopped at any line of the storage's own code, which need know nothing of it.

A place is a line that is about to be executed, or a call that is about to be made in a line that has made another
one already: nowhere else does an interpreter with a global lock let another thread in. Places are counted from
1, in the order in which one operation comes to them.
"""

from __future__ import annotations

import gc
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from ..storage import AIStorage
from .seams import Pause, Seams, Watch

__all__ = ["LineSeams", "Place", "Rehearsal", "own_code"]

_PACKAGE = Path(__file__).resolve().parents[1]
_BACKENDS = f"{_PACKAGE / 'backends'}{os.sep}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operation came by.

    Attributes:
        file: the file.
        line: its line, from 1.
        call: the name of the function that is about to be called; empty: the line is about to begin.
        after: the name of the function that was called last before; empty: none since the last place.
    """

    file: str
    line: int
    call: str = ""
    after: str = ""

    def __str__(self) -> str:
        where = f"{os.path.basename(self.file)}:{self.line}"
        return f"{where}, before {self.call}()" if self.call else where


# -- whose code ---------------------------------------------------------------------------------------------


def own_code(storage: object) -> tuple[str, ...]:
    """Return the files, and the directories with a separator at their end, that hold a storage's own code.

    That is the package in which its class is defined, or the module where there is none, with those of its bases
    and of storages that it wraps; and always the backends of this package. The standard library is nobody's own,
    and neither are the installed packages of which it only inherits.

    Args:
        storage: an open client.
    """
    found = {_BACKENDS: None}
    seen: set[int] = set()
    wrapped = [storage]
    while wrapped:
        one = wrapped.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        for cls in type(one).__mro__:
            path = _home(cls.__module__)
            if path is not None and (cls is type(one) or not _is_installed(path)):
                found[path] = None
        inside = getattr(one, "__dict__", {})
        wrapped += [other for other in inside.values() if hasattr(other, "save_progress")]
    return tuple(found)


def _home(module: str) -> str | None:
    """The directory of the outermost package of a module, or its file; None: it is of the standard library."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        loaded = sys.modules.get(".".join(parts[:length]))
        file = getattr(loaded, "__file__", None)
        if file is None:
            continue  # a namespace package is many authors'
        if parts[0] == __name__.partition(".")[0]:
            whole: str | None = getattr(sys.modules.get(module), "__file__", None)
            if whole is None or whole.startswith(_BACKENDS) or Path(whole).parent == _PACKAGE:
                return None  # the backends are in any case, and the contract's own methods are not
            return whole
        path = os.path.abspath(file)
        if hasattr(loaded, "__path__"):
            path = os.path.dirname(path) + os.sep
        return None if _is_standard(path) else path
    return None


_STANDARD = tuple(
    os.path.join(os.path.realpath(sysconfig.get_path(name)), "") for name in ("stdlib", "platstdlib")
)
_INSTALLED = tuple(
    {
        os.path.join(os.path.realpath(path), "")
        for path in (
            sysconfig.get_path("purelib"),
            sysconfig.get_path("platlib"),
            *site.getsitepackages(),
            site.getusersitepackages(),
        )
    }
)


def _is_installed(path: str) -> bool:
    return os.path.realpath(path).startswith(_INSTALLED)


def _is_standard(path: str) -> bool:
    return os.path.realpath(path).startswith(_STANDARD) and not _is_installed(path)


# -- places -------------------------------------------------------------------------------------------------


class _Tracing:
    """Counts the places that this thread comes to, for the length of a ``with`` block.

    What traced the thread before, a debugger or coverage, is set aside and put back.

    Args:
        own: as of `own_code`.
        reach: called at each place, with its number and where it is.
    """

    def __init__(self, own: tuple[str, ...], reach: Callable[[int, Place], None]) -> None:
        self._files = frozenset(path for path in own if not path.endswith(os.sep))
        self._directories = tuple(path for path in own if path.endswith(os.sep))
        self._reach = reach
        self._known: dict[CodeType, bool] = {}
        self._number = 0
        self._after = ""
        self._fresh: FrameType | None = None  # at the beginning of a line, none of whose calls was made yet
        self._before: tuple[Any, Any] = (None, None)

    def __enter__(self) -> None:
        self._before = sys.gettrace(), sys.getprofile()
        _collect_no_garbage()
        sys.setprofile(self._on_profile)
        sys.settrace(self._on_call)

    def __exit__(self, *error: object) -> None:
        trace, profile = self._before
        sys.settrace(trace)
        sys.setprofile(profile)
        _collect_garbage_again()
        self._fresh = None

    def stop(self) -> None:
        """Come to no more places: what is left of the operation costs nothing."""
        sys.setprofile(None)
        sys.settrace(None)

    def _is_own(self, code: CodeType) -> bool:
        own = self._known.get(code)
        if own is None:
            file = os.path.abspath(code.co_filename)
            own = self._known[code] = file in self._files or file.startswith(self._directories)
        return own

    def _on_call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._on_line if self._is_own(frame.f_code) else None

    def _on_line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            self._fresh = frame
            self._come(frame, "")
        return self._on_line

    def _on_profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call":
            caller, name = frame, getattr(arg, "__name__", "")
        elif event == "call" and frame.f_back is not None:
            if self._is_own(frame.f_code):
                return  # its first line is a place
            caller, name = frame.f_back, frame.f_code.co_name
        else:
            return
        if not self._is_own(caller.f_code) or (event == "c_call" and arg is _SET_TRACE):
            return
        if self._fresh is caller:
            self._fresh = None
        else:
            self._come(caller, name)
        self._after = name

    def _come(self, frame: FrameType, call: str) -> None:
        self._number += 1
        after, self._after = self._after, ""
        self._reach(self._number, Place(frame.f_code.co_filename, frame.f_lineno, call, after))


_SET_TRACE = sys.settrace
_tracing: list[bool] = []
"""For each thread that traces now, whether garbage was collected before the first of them began."""
_tracing_lock = threading.Lock()


def _collect_no_garbage() -> None:
    """The collector runs finalizers wherever it happens to be: they would count as calls of that line."""
    with _tracing_lock:
        _tracing.append(_tracing[0] if _tracing else gc.isenabled())
        gc.disable()


def _collect_garbage_again() -> None:
    with _tracing_lock:
        if _tracing.pop() and not _tracing:
            gc.enable()


class Rehearsal:
    """An operation that returns, beside its result, all places that it came to.

    Args:
        operation: what to do; picklable if this is to be.
        own: as of `own_code`.
    """

    def __init__(self, operation: Callable[[AIStorage], Any], own: tuple[str, ...]) -> None:
        self.operation = operation
        self.own = own

    def __call__(self, storage: AIStorage) -> tuple[Any, tuple[Place, ...]]:
        """Do it."""
        places: list[Place] = []
        with _Tracing(self.own, lambda number, place: places.append(place)):
            result = self.operation(storage)
        return result, tuple(places)


# -- seams --------------------------------------------------------------------------------------------------


class LineSeams(Seams):
    """The places of a storage's own code. The step up to the 12th of them is ``line12``, the last one ``run``.

    A client stands still before its operation begins. Whoever grants it a step may say up to which place it
    is to go; otherwise it goes to the next of ``stops``.

    Args:
        own: as of `own_code`.
        stops: the numbers of places.
    """

    starts_stopped = False  # it stops there by itself, to be told how far to go
    needs_process = False

    def __init__(self, own: tuple[str, ...], stops: tuple[int, ...] = ()) -> None:
        self.own = own
        self.stops = tuple(sorted(stops))

    @contextmanager
    def watching(self, pause: Pause) -> Iterator[Watch]:
        """Trace this thread."""
        watch = _LineWatch(self.stops, pause)
        tracing = _Tracing(self.own, watch.reach)
        watch.done = tracing.stop
        with tracing:
            yield watch


class _LineWatch:
    def __init__(self, stops: tuple[int, ...], pause: Pause) -> None:
        self._stops = stops
        self._pause = pause
        self.done: Callable[[], None] = lambda: None
        self._until = self._chosen(0, pause.stop(None))

    def reach(self, number: int, place: Place) -> None:
        if number == self._until:
            self._until = self._chosen(number, self._pause.stop(f"line{number}"))
            if not self._until:
                self.done()

    def last(self) -> str:
        return "run"

    def _chosen(self, number: int, told: object) -> int:
        if isinstance(told, int):
            return told
        return next((stop for stop in self._stops if stop > number), 0)
