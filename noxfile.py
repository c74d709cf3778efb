"""Chores. What every change must pass is in tox.ini; this is what a maintainer does now and then."""

from __future__ import annotations

import pathlib
import secrets
import time

import nox

nox.options.sessions = []
nox.options.default_venv_backend = "venv"


@nox.session
def servers(session: nox.Session) -> None:
    """Say which test servers this machine offers, from where, and what to do about the rest."""
    session.install("-e", ".[all]")
    session.run("aistorage", "doctor", *session.posargs)


@nox.session
def prove(session: nox.Session) -> None:
    """Show twenty times in a row that the JSON file loses data and that the others don't."""
    session.install("-e", ".[all]")
    session.run("aistorage", "prove", "--runs", "20", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: isolation beside the peers, operations beside the raw drivers, growth, start-up."""
    session.install("-e", ".[dev-bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def nightly(session: nox.Session) -> None:
    """Run the contract at thorough effort with a seed of its own; what fails is replayed by that seed."""
    session.install("-e", ".[test]")
    seed = secrets.randbelow(2**31)
    options = ("--ai-storage-effort=thorough", f"--ai-storage-seed={seed}")
    session.run(
        "pytest", "tests/conformance", *options, *session.posargs, env={"HYPOTHESIS_PROFILE": "nightly"}
    )


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the contract on every backend a hundred times, each time with another seed; the first failure ends it.

    Arguments are pytest's: ``nox -s conformance -- --ai-storage=redis@8 --ai-storage-effort=normal``.
    """
    session.install("-e", ".[test]")
    started = time.monotonic()
    for seed in range(1, 101):
        session.run(
            *("pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "tests/conformance/test_own_backends.py"),
            *("--ai-storage=memory,file,sqlite,postgres,mysql,redis", "--ai-storage-effort=quick"),
            f"--ai-storage-seed={seed}",
            *session.posargs,
        )
        session.log(f"{seed} of 100 runs green after {time.monotonic() - started:.0f} s")


_SOAKS = ("tests/races/test_soak.py", "tests/backends/redis_storage/test_cluster_under_kills.py")


@nox.session
def soak(session: nox.Session) -> None:
    """Race for ten minutes on each backend while its server, cache or cluster is killed, paused and cut off."""
    session.install("-e", ".[test]")
    seed = secrets.randbelow(2**31)
    session.log(f"SOAK_SEED={seed}")
    session.run(
        *("pytest", "-n", "2", "-rP", *_SOAKS),
        *session.posargs,
        env={"SOAK_SECONDS": "600", "SOAK_SEED": str(seed)},
    )


@nox.session
def races(session: nox.Session) -> None:
    """Run the tests of races fifty times in a row; the first failure ends it."""
    session.install("-e", ".[test]")
    started = time.monotonic()
    for number in range(1, 51):
        session.run("pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "tests/races", *session.posargs)
        session.log(f"{number} of 50 runs green after {time.monotonic() - started:.0f} s")


@nox.session
def migration(session: nox.Session) -> None:
    """Kill migrations and cutovers at 50 random moments each, and run the whole contract on dual write."""
    session.install("-e", ".[test]")
    session.run(
        *("pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "tests/migration"),
        *session.posargs,
        env={"MIGRATION_KILLS": "50", "DUAL_WRITE_CONTRACT": "1"},
    )


@nox.session
def docs(session: nox.Session) -> None:
    """Serve the documentation while it is being written."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "serve", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Build and check what is to be uploaded; uploading is the release workflow's."""
    session.install("build>=1.2", "twine>=6")
    dist = pathlib.Path("dist")
    for old in dist.glob("*"):
        old.unlink()
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, sorted(dist.glob("*"))))
