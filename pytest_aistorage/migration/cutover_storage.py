"""The storage of an application that moves from its JSON file: it goes by the step that the cutover is at."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlencode

from .. import codec, config
from ..backends.file import FileStorage
from ..capabilities import Capability
from ..errors import ConfigurationError, OutcomeUnknownError, StorageUnavailableError
from ..progress import AIProgress
from ..registry import open_storage
from ..storage import DEFAULT_TIMEOUT, AIStorage
from .dual_write import DualWriteStorage
from .journal import Step

__all__ = ["CutoverStorage", "WholeFile", "identity"]

_PLACES = ("db", "dbname", "host", "hostaddr", "options", "port", "prefix", "service", "unix_socket")
"""Parameters of a URL that say where its records are; the others say how they are asked for."""


class WholeFile(FileStorage):
    """The JSON file during a cutover: written beside and put into place, so that whoever is killed tears nothing.

    Not linearizable by itself; under the journal's lock it is.
    """

    known: str | None = None
    """How the client that holds the lock has found the file, and then left it; None: it has not looked."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.capabilities |= {
            Capability.LINEARIZABLE,
            Capability.ATOMIC_BATCH,
            Capability.SNAPSHOT_LISTING,
            Capability.SURVIVES_CLIENT_CRASH,
            Capability.SURVIVES_SERVER_CRASH,
            Capability.SURVIVES_POWER_LOSS,
        }

    @property
    def path(self) -> Path:
        """The file itself, behind any links."""
        return Path(os.path.realpath(self._path))

    def fingerprint(self) -> str:
        """What changes when somebody writes the file; empty where there is none."""
        try:
            return _fingerprint(os.stat(self.path))
        except FileNotFoundError:
            return ""

    def _write(self, records: dict[str, AIProgress]) -> None:
        documents = [codec.record_to_document(records[name]) for name in sorted(records)]
        path = self.path
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(documents, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
                written = _fingerprint(os.fstat(file.fileno()))
            if path.exists():
                os.chmod(name, path.stat().st_mode & 0o7777)
            if self.known not in (None, self.fingerprint()):
                raise StorageUnavailableError(f"{path}: somebody else writes it; nothing was written")
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        self.known = written
        try:
            _synchronize(path.parent)
        except OSError as error:
            raise OutcomeUnknownError(
                f"{path}: {error.strerror or error}, when it had been put into place"
            ) from error


def _fingerprint(status: os.stat_result) -> str:
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _synchronize(directory: Path) -> None:
    """Make a name that was put into place outlive a loss of power, where directories can be opened."""
    with contextlib.suppress(PermissionError):  # Windows opens none
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class CutoverStorage(DualWriteStorage):
    """Goes from a JSON file to another storage as `aistorage cutover` says, without a change or a restart.

    Before the first step it is the file alone; then it writes both and reads the file; after the switch it reads the
    new storage, and still writes both; in the end it is the new storage alone. Which of these it is, is noted beside
    the file, and looked at under a lock with each operation, until it can't change any more. The file has the form of
    `FileStorage`. Whoever writes it by another storage than this is noticed, and has to be compared again.

    Args:
        path: the file.
        to: the URL of the new storage.
        timeout: seconds to wait for the lock.

    Raises:
        ConfigurationError: a URL that can't be read, or that leads to a file, to another cutover, or to the memory of
            one process.
    """

    type: ClassVar[str] = "cutover"
    schemes: ClassVar[tuple[str, ...]] = ("cutover",)
    url_options: ClassVar[config.OptionChecks] = {"to": config.text, "timeout": config.seconds}

    def __init__(self, path: str | Path, to: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        __tracebackhide__ = True  # pytest would print the URL, with its password
        self._to = identity(to)
        self._file = WholeFile(path)
        new = open_storage(to)
        if Capability.SHARED_BETWEEN_PROCESSES not in new.capabilities:
            new.close()
            raise ConfigurationError(f"to: {new.type} is nothing to cut over to: each process has its own")
        super().__init__(self._file, new, journal=f"{self._file.path}.cutover", timeout=timeout)
        self._final: Step | None = None

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open ``cutover:///absolute/path.json?to=postgresql%3A%2F%2Fhost%2Fdb``.

        Args:
            url: where the file is; ``to``, percent-encoded, and ``timeout`` may stand in its query.
            options: the same.

        Raises:
            ConfigurationError: no path, no ``to``, or an unknown option.
        """
        __tracebackhide__ = True  # as above
        parts, given = config.option_of(config.StorageURL.parse(url), options, cls.url_options)
        config.nothing_left(parts)
        if parts.host not in (None, "localhost") or not parts.path.startswith("/") or parts.path == "/":
            raise ConfigurationError(
                "a cutover's URL is cutover:///absolute/path/training_metrics.json?to=URL"
            )
        if "to" not in given:
            raise ConfigurationError("cutover: needs the option to, the URL of the new storage")
        path = parts.path[1:] if parts.path[2:3] == ":" else parts.path  # cutover:///C:/metrics.json
        return cls(path, given["to"], **({"timeout": given["timeout"]} if "timeout" in given else {}))

    @classmethod
    def fresh_url(cls, tmp_path: Path) -> str:
        """Return the URL of a cutover at its second step, from a file with no records to an empty SQLite file."""
        path = tmp_path / "training_metrics.json"
        path.write_text("[]", encoding="utf-8")
        to = f"sqlite:///{(tmp_path / 'aistorage.db').as_posix()}"
        with cls(path, to) as storage, storage._journal.locked():
            storage._journal.put(step=Step.DUAL_WRITE.value, to=identity(to), copied="yes")
        return f"cutover://{quote(path.absolute().as_posix())}?to={quote(to, safe='')}"

    @property
    def step(self) -> Step:
        """How far the cutover has come.

        Raises:
            StorageUnavailableError: that can't be read.
        """
        with self._journal.locked():
            return self._step()

    def _step(self) -> Step:
        step = self._journal.step
        self._file.known = None
        if not step.reads_new and not self._file.path.exists():
            # Whoever removed the file, and the journal perhaps, must not have the application begin a new one.
            if step is Step.NOT_BEGUN:
                raise ConfigurationError(
                    f"{self._file.path}: there is neither this file nor a cutover from it"
                )
            raise StorageUnavailableError(
                f"{self._file.path}: somebody has removed it, and the cutover is at {step.value!r}"
            )
        if step is not Step.NOT_BEGUN and (noted := self._journal.get("to")) != self._to:
            raise ConfigurationError(f"{self._journal.path}: this cutover goes to {noted}, not to {self._to}")
        if step.reads_new:
            self._final = step
        return step

    def _settled(self) -> Step | None:
        return self._final

    def _before_write(self, step: Step) -> Step:
        """Notice who has written the file by another way: what he wrote has no copy."""
        self._file.known = self._file.fingerprint()
        if self._journal.get("file") == self._file.known:
            return step
        if step is Step.VERIFIED:
            self._journal.put(step=Step.DUAL_WRITE.value, foreign="yes")
            return Step.DUAL_WRITE
        self._journal.put(foreign="yes")
        return step

    def _after_write(self) -> Mapping[str, str]:
        known = self._file.known
        return {"file": self._file.fingerprint() if known is None else known}

    def _takes_batches(self, follower: AIStorage) -> bool:
        return (
            follower is self._file
        )  # each write of which is one of the whole file, and done when it returns

    def _close(self) -> None:
        super()._close()
        self._old.close()
        self._new.close()


def identity(url: str) -> str:
    """Return which storage a URL leads to, without who asks for it, and how: a password may change on the way.

    Raises:
        ConfigurationError: no URL, or one of what a file can't be cut over to.
    """
    __tracebackhide__ = True  # as above
    parts = config.StorageURL.parse(url)
    if parts.scheme in ("file", "cutover"):
        raise ConfigurationError(f"to: {parts.scheme}:// is nothing to cut over to")
    hosts = [(parts.host, parts.port), *parts.more_hosts]
    names = ",".join(f"{host or ''}{'' if port is None else f':{port}'}" for host, port in hosts)
    path = parts.path
    if parts.scheme.partition("+")[0] == "sqlite":  # the application may run in another directory
        path = f"/{os.path.realpath(path.removeprefix('/'))}"
    places = urlencode({name: parts.query[name] for name in _PLACES if name in parts.query}, safe="/:")
    return f"{parts.scheme}://{names}{path}{'?' if places else ''}{places}"
