"""initdb for a user without an entry in /etc/passwd, as in a container that was started with ``--user 12345``.

initdb, and the server that it runs to fill the cluster, ask for the user's name only to propose it as the
superuser's, which we name anyway, but give up when there is none. On Linux copies of both are made whose import of
``getpwuid`` reads ``getpwent``, which has the same length, ignores the argument, and returns the first entry of
/etc/passwd. The server that then runs on the cluster is the installed one: it does not ask.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pytest_aistorage.servers.base import ProviderUnavailableError

__all__ = ["initdb_without_passwd_entry"]

_ASKED, _ASKED_INSTEAD = b"\0getpwuid\0", b"\0getpwent\0"


def initdb_without_passwd_entry(initdb: Path, work: Path) -> tuple[Path, dict[str, str]]:
    """An initdb that works for the user who runs the server, and what its environment needs.

    Args:
        initdb: the one of the installation.
        work: where a copy may be made.

    Raises:
        ProviderUnavailableError: a copy is needed, and can't be made on this platform.
    """
    if sys.platform == "win32" or os.geteuid() == 0 or _has_entry(os.geteuid()):
        return initdb, {}
    postgres = initdb.with_name("postgres")
    programs = {program: program.read_bytes() for program in (initdb, postgres)}
    if sys.platform != "linux" or any(content.count(_ASKED) != 1 for content in programs.values()):
        raise ProviderUnavailableError(
            f"initdb refuses the uid {os.geteuid()}, which has no entry in /etc/passwd",
            "give the uid an entry in /etc/passwd",
        )
    # The programs look for each other, and for what they need, around where they are.
    prefix = initdb.parent.parent
    bin_directory = work / "bin"
    bin_directory.mkdir()
    for place in prefix.iterdir():
        if place != initdb.parent:
            (work / place.name).symlink_to(place)
    for program, content in programs.items():
        copy = bin_directory / program.name
        copy.write_bytes(content.replace(_ASKED, _ASKED_INSTEAD))
        copy.chmod(0o700)
    libraries = [prefix / "lib", *prefix.parent.parent.glob("*.libs")]
    return bin_directory / initdb.name, {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}


def _has_entry(uid: int) -> bool:
    import pwd

    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
