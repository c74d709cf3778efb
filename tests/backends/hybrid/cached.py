"""A hybrid store and its parts, for tests that look into the cache from both sides."""

from __future__ import annotations

import contextlib
import itertools
import threading

import sqlalchemy as sa

from pytest_aistorage import AIProgress, HybridStorage, open_storage

_numbers = itertools.count(1)


class Cached:
    """One store: a SQLite file, and a cache on a server.

    SQLite, because what is tested is the cache; the contract runs on PostgreSQL.
    """

    def __init__(self, directory, cache_url):
        self.url = f"sqlite:///{directory}/hybrid-{next(_numbers)}.db"
        self.cache_url = cache_url
        self._open = contextlib.ExitStack()

    def client(self, **options) -> HybridStorage:
        """Open one more client, closed at the end."""
        return self._open.enter_context(open_storage(self.url, **{"cache": self.cache_url, **options}))

    def database(self):
        """Open the database alone, around the cache."""
        return self._open.enter_context(open_storage(self.url))

    def overwrite(self, model_name, mse):
        """Change a record around every client, so that only who reads the database can see it."""
        engine = sa.create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE ai_progress SET mse = :mse WHERE model_name = :name"),
                {"mse": mse, "name": model_name},
            )
        engine.dispose()

    def close(self):
        """Close all clients."""
        self._open.close()


def record(mse, model_name="m"):
    """Return a record that its mse tells from others."""
    return AIProgress(model_name=model_name, mse=mse)


class Held:
    """Holds the first call of a function until it is let go."""

    def __init__(self, function):
        self._function = function
        self._first = True
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.calls = 0

    def __call__(self, *arguments):
        """Call it; the first time, after it was let go."""
        self.calls += 1
        result = self._function(*arguments)
        if self._first:
            self._first = False
            self.reached.set()
            assert self.go_on.wait(30)
        return result
