"""Every option of every backend can stand in a URL's query."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest

from pytest_aistorage import AIStorage, ConfigurationError, config, open_storage
from pytest_aistorage.passwords import OPTION
from pytest_aistorage.registry import backend_class, backend_for

URLS = {
    "memory": "memory://",
    "file": "file:///{directory}/metrics.json",
    "sqlite": "sqlite:////{directory}/metrics.db",
    "postgresql": "postgresql://user@127.0.0.1:1/db",
    "mysql": "mysql://user@127.0.0.1:1/db",
    "redis": "redis://127.0.0.1:1/0",
    "redis+cluster": "redis+cluster://127.0.0.1:1,127.0.0.1:2",
    "redis+sentinel": "redis+sentinel://127.0.0.1:1/master/0",
}
CLASSES = {name: cast("type[AIStorage]", backend_for(url)) for name, url in URLS.items()}

# A hybrid is a database with one more option, without which it is none.
URLS["hybrid"] = "postgresql://user@127.0.0.1:1/db"
CLASSES["hybrid"] = cast("type[AIStorage]", backend_class("hybrid"))
CACHE = "redis://127.0.0.1:1/0"
OPTIONS = [
    (name, option)
    for name, found in CLASSES.items()
    for option in found.url_options
    if (option != "replica" or name == "postgresql")  # the class's, whose other databases have none
    and (option != OPTION or name != "sqlite")  # it has no password
]


def _value(backend: str, option: str) -> str:
    """A text that the option's check takes: a number, an address, or one of the words that its complaint lists."""
    check = CLASSES[backend].url_options[option]
    candidates = ["7", "true", URLS[backend]]
    try:
        check(option, "")
    except ConfigurationError as error:
        candidates += re.findall(r"[\w-]+", str(error))
    for candidate in candidates:
        try:
            check(option, candidate)
        except ConfigurationError:
            continue
        return candidate
    raise AssertionError(f"{backend}: no text is known that option {option} takes")


@pytest.mark.parametrize(("backend", "option"), OPTIONS)
def test_option_works_from_a_url(
    backend: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is checked as the keyword is; a bad value is refused by its name. What no backend takes, no driver knows."""
    collected: list[dict[str, Any]] = []
    collect = config.option_of

    def spy(*arguments: Any) -> tuple[config.StorageURL, dict[str, Any]]:
        rest, options = collect(*arguments)
        collected.append(dict(options))
        return rest, options

    monkeypatch.setattr(config, "option_of", spy)
    url = URLS[backend].format(directory=tmp_path.as_posix().lstrip("/"))
    if option.endswith(OPTION):
        (tmp_path / "password").touch()
        value = f"file:{tmp_path}/password"
    else:
        value = CACHE if option == "cache" else _value(backend, option)
    others: dict[str, Any] = {"cache": CACHE} if backend == "hybrid" and option != "cache" else {}
    checked = CLASSES[backend].url_options[option](option, value)
    for address, keywords in ((f"{url}?{option}={quote(value, safe='')}", {}), (url, {option: checked})):
        collected.clear()
        open_storage(address, **others, **keywords).close()
        assert [options[option] for options in collected if option in options][:1] == [checked]
        assert all(options.get(option, checked) == checked for options in collected)
    with pytest.raises(ConfigurationError, match=option):
        open_storage(f"{url}?{option}=", **others)
