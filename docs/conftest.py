"""Every code block of the documentation runs.

``python``
    is executed; the blocks of a page share their names.
``python title="test_x.py"``
    is written to that file in the page's own directory, for a later command to use. So is any language with a title.
``console``
    each line after ``$`` is run in that directory; what stands below it must be found in what it prints, line by
    line, with ``...`` for whatever is left out. A command that installs is not run: the extras it names must exist.
``toml``, ``ini``, ``yaml``, ``json``, ``bash``, ``sql``
    must be well-formed.
``typescript``
    is what the reader of the guide knows. The block of Python that follows says the same, and is executed.

The pages below ``guide/`` have a PostgreSQL behind ``DATABASE_URL`` and a Redis behind ``REDIS_URL``.
"""

from __future__ import annotations

import ast
import configparser
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import yaml
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.sybil import SybilCollection

from pytest_aistorage.servers.server import Server

ROOT = Path(__file__).parent.parent
INSTALLS = re.compile(r"\b(pip install|docker|git clone|tox|nox|pre-commit)\b")
SECONDS = 300


def parse(document: Document) -> Iterable[Region]:
    """Yield every fenced block that names a language."""
    for region in FencedCodeBlockLexer(r".+", mapping={"language": "info", "source": "source"})(document):
        region.evaluator = evaluate
        region.parsed = region.lexemes["source"]
        yield region


def evaluate(example: Example) -> None:
    """Run one block as its language wants it."""
    info, source = example.region.lexemes["info"].strip(), str(example.parsed)
    language = info.split()[0]
    title = re.search(r'title="([^"]+)"', info)
    if title:
        path = example.namespace["directory"] / title[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    if language == "python" and not title:
        run_python(example, source)
    elif language == "console":
        run_console(source, example.namespace["directory"])
    else:
        check_form(language, source)


def run_python(example: Example, source: str) -> None:
    """Execute a block in the page's namespace, in the page's directory, with its own line numbers."""
    padded = "\n" * (example.line + example.parsed.line_offset) + source
    code = compile(padded, str(example.path), "exec", dont_inherit=True)
    before = Path.cwd()
    os.chdir(example.namespace["directory"])
    try:
        exec(code, example.namespace)
    finally:
        os.chdir(before)


def run_console(source: str, directory: Path) -> None:
    """Run each command, and compare what it prints with what the page shows."""
    command, expected = "", []
    for line in [*source.splitlines(), "$ "]:
        if line.startswith("$ "):
            if command:
                run_command(command, expected, directory)
            command, expected = line[2:], []
        else:
            expected.append(line)


def run_command(command: str, expected: list[str], directory: Path) -> None:
    """Run one command by the shell, as a reader would."""
    if INSTALLS.search(command):
        check_extras(command)
        return
    scripts = Path(sys.executable).parent
    environment = {
        # Not what this run of the tests was told: the reader has not been told it.
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "AI_STORAGE_"))
        },
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        command,
        shell=True,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    shown = [line.strip() for line in expected if line.strip() and line.strip() != "..."]
    printed = done.stdout.splitlines()
    place = 0
    for line in shown:
        pattern = ".*".join(re.escape(part.strip()) for part in line.split("..."))
        pattern = re.sub(r"(\\ )+", r"\\s+", pattern)
        while place < len(printed) and not re.search(pattern, printed[place]):
            place += 1
        assert place < len(printed), f"$ {command}\nexpected: {line}\nprinted:\n{done.stdout}"
        place += 1
    # A page that shows a failure shows how it ends; anything else must succeed.
    fails = any(re.search(r"\b[1-9]\d* (failed|error)", line) for line in shown)
    assert (done.returncode != 0) == fails, f"$ {command}\nexit status {done.returncode}\n{done.stdout}"


def check_extras(command: str) -> None:
    """Compare the extras that an install command names with the ones there are."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for names in re.findall(r"(?:pytest-aistorage|\.)\[([^\]]+)\]", command):
        unknown = {name.strip() for name in names.split(",")} - set(declared)
        assert not unknown, f"{command}: no extra is called {', '.join(sorted(unknown))}"


def check_form(language: str, source: str) -> None:
    """Parse what is not run."""
    if language == "toml":
        tomllib.loads(source)
    elif language == "ini":
        configparser.ConfigParser(interpolation=None).read_string(source)
    elif language == "yaml":
        list(yaml.safe_load_all(source))
    elif language == "json":
        json.loads(source)
    elif language == "python":
        ast.parse(source)
    elif language == "bash":
        subprocess.run(["bash", "-n"], input=source, text=True, check=True, timeout=SECONDS)
    else:
        assert language in {"sql", "text", "mermaid", "typescript"}, (
            f"what does a block of {language!r} want?"
        )


def set_up(namespace: dict[str, object]) -> None:
    """Give a page a directory of its own."""
    namespace["holder"] = holder = tempfile.TemporaryDirectory(prefix="aistorage-docs-")
    namespace["directory"] = Path(holder.name)


def tear_down(namespace: dict[str, object]) -> None:
    """Remove the page's directory."""
    holder = namespace["holder"]
    assert isinstance(holder, tempfile.TemporaryDirectory)
    holder.cleanup()


@pytest.fixture(scope="module")
def guide_environment(postgres_server: Server, redis_server: Server) -> Iterator[None]:
    """The environment that a page of the guide is read in: two empty servers, and no word of where it runs."""
    with mock.patch.dict(os.environ):  # what a page sets is taken back as well
        for name in ("APP_ENV", "NODE_ENV", "CI"):
            os.environ.pop(name, None)
        os.environ["DATABASE_URL"] = postgres_server.create_database()
        os.environ["REDIS_URL"] = redis_server.create_database()
        yield


_pages = functools.partial(Sybil, [parse], setup=set_up, teardown=tear_down)
pytest_collect_file = SybilCollection(
    [
        _pages(patterns=["*.md"], excludes=["changelog.md", "guide/*.md"]),
        _pages(patterns=["guide/*.md"], fixtures=["guide_environment"]),
    ]
).pytest()
