"""Environments with a few of the installed distributions and no others, made out of links."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

__all__ = ["environment", "installed"]


def installed(name: str) -> bool:
    """Whether a distribution is installed."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def environment(place: Path, names: Iterable[str]) -> Path:
    """Make a directory for PYTHONPATH with distributions and all that they require, as pip would install them.

    Links to what is installed here: nothing is downloaded. An interpreter started with ``-S`` sees nothing else.

    Args:
        place: the directory; it must not exist.
        names: of the distributions; extras in brackets.
    """
    place.mkdir(parents=True)
    for name in _closure(names):
        distribution = importlib.metadata.distribution(name)
        metadata = Path(str(distribution.locate_file("")))
        for top in _tops(distribution):
            source = metadata / top
            if source.exists() and not (place / top).exists():
                (place / top).symlink_to(source)
        if not any(_is_package(path) for path in place.iterdir() if _normal(path.name) == _normal(name)):
            _link_editable(place, name)
    return place


def _is_package(path: Path) -> bool:
    return path.suffix not in (".dist-info", ".pth")


def _link_editable(place: Path, name: str) -> None:
    """A package that is installed as a link to its source."""
    import importlib.util

    found = importlib.util.find_spec(_normal(name).replace("-", "_"))
    if found is not None and found.submodule_search_locations:
        source = Path(next(iter(found.submodule_search_locations)))
        if not (place / source.name).exists():
            (place / source.name).symlink_to(source)


def _tops(distribution: importlib.metadata.Distribution) -> set[str]:
    """The first parts of the paths of a distribution's files, without its programs and compiled caches."""
    tops = {file.parts[0] for file in distribution.files or () if not file.is_absolute()}
    return {top for top in tops if top not in ("..", "__pycache__") and not top.endswith(".pth")}


def _closure(names: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        key = f"{_normal(wanted.name)}[{','.join(sorted(wanted.extras))}]"
        if key in found:
            continue
        found[key] = wanted.name
        for text in importlib.metadata.distribution(wanted.name).requires or ():
            requirement = Requirement(text)
            extras = [*wanted.extras, ""]
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in extras
            ):
                waiting.append(requirement)
    return list(dict.fromkeys(found.values()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
