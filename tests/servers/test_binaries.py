"""What server programs say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_aistorage.servers.binaries import Binaries, newest, product_in


@pytest.mark.parametrize(
    ("text", "product"),
    [
        ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", "PostgreSQL 15.14"),
        ("postgres (PostgreSQL) 18.0", "PostgreSQL 18.0"),
        (
            "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0",
            "Redis 7.0.15",
        ),
        ("Valkey server v=9.1.0 sha=0:0 malloc=libc bits=64", "Valkey 9.1.0"),
        (
            "mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)",
            "MariaDB 10.11.6",
        ),
        ("/usr/sbin/mysqld  Ver 9.4.0 for Linux on x86_64 (MySQL Community Server - GPL)", "MySQL 9.4.0"),
        ("cannot execute binary file", ""),
    ],
)
def test_a_program_is_recognized_by_what_it_prints(text: str, product: str) -> None:
    """Not by its name: mysqld may be a MariaDB, redis-server a Valkey."""
    assert product_in(text) == product


def test_the_newest_is_taken_by_number() -> None:
    """9.6 is older than 15.1; out of none there is none."""
    found = [Binaries(f"PostgreSQL {version}", Path(version)) for version in ("9.6", "15.1", "15.0")]
    best = newest(found)
    assert best is not None
    assert best.product == "PostgreSQL 15.1"
    assert newest([]) is None
