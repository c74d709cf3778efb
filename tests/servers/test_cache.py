"""Templates: made once, replaced when torn, removed when nobody needs them."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest
from server_checks import offered

from pytest_aistorage.servers import ServerOptions, ServerSpec, shared_server


def start(options: ServerOptions, place: Path) -> str:
    """Start and end a server in a run of its own; returns its version."""
    place.mkdir(mode=0o700)
    chosen = dataclasses.replace(options, run_dir=place, providers={"postgres": ("process",)})
    with shared_server(ServerSpec.parse("postgres"), chosen) as server:
        return server.version


@pytest.fixture
def fresh(options: ServerOptions, tmp_path: Path) -> ServerOptions:
    """Options with an empty cache."""
    offered("postgres", "process", options)
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    return dataclasses.replace(options, cache_dir=cache)


def templates(options: ServerOptions) -> list[Path]:
    """The templates in the cache."""
    assert options.cache_dir is not None
    return [place for place in (options.cache_dir / "templates").iterdir() if place.is_dir()]


def test_a_template_is_made_once(fresh: ServerOptions, tmp_path: Path) -> None:
    """The second run copies what the first one made; nothing unfinished stays."""
    start(fresh, tmp_path / "one")
    (template,) = templates(fresh)
    made = template.stat().st_ino
    start(fresh, tmp_path / "two")
    assert [place.stat().st_ino for place in templates(fresh)] == [made]


def test_a_torn_template_is_replaced(fresh: ServerOptions, tmp_path: Path) -> None:
    """A cache that a power failure damaged costs one more start, not a failure."""
    start(fresh, tmp_path / "one")
    (template,) = templates(fresh)
    (template / "global" / "pg_control").write_bytes(b"")
    assert start(fresh, tmp_path / "two").startswith("PostgreSQL")
    (template,) = templates(fresh)
    assert (template / "global" / "pg_control").stat().st_size > 0


def test_templates_that_nobody_uses_are_forgotten(fresh: ServerOptions, tmp_path: Path) -> None:
    """A month after the last use, when another one is made."""
    assert fresh.cache_dir is not None
    old, young = (fresh.cache_dir / "templates" / f"postgres-{name}" for name in ("old", "young"))
    for place in (old, young):
        place.mkdir(parents=True, mode=0o700)
    month = time.time() - 31 * 24 * 3600
    os.utime(old, (month, month))
    start(fresh, tmp_path / "one")
    assert not old.exists()
    assert young.exists()
