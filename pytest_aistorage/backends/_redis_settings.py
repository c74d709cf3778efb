"""What a Redis server's settings must be, for a storage to keep what it declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["APPEND_ONLY", "DURABILITIES", "FSYNC_ALWAYS", "contradiction", "parsed_info", "product"]

APPEND_ONLY: Final = "append-only"
FSYNC_ALWAYS: Final = "appendfsync-always"
DURABILITIES: Final = ("none", APPEND_ONLY, FSYNC_ALWAYS)


def parsed_info(reply: Any) -> dict[str, str]:
    """Return the lines of a reply to INFO by name; none where an ACL forbids the question."""
    if isinstance(reply, Exception):
        return {}
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
    return {name: value for name, _, value in (line.partition(":") for line in text.splitlines()) if value}


def product(said: Mapping[str, str]) -> str:
    """Return what a server calls itself, with its version.

    Args:
        said: the lines of its reply to INFO, as `parsed_info` gives them.
    """
    # Valkey also says which Redis it is compatible with.
    if (version := said.get("valkey_version")) is not None:
        return f"Valkey {version}"
    return f"Redis {said.get('redis_version', '(of a version that it does not tell)')}"


def contradiction(durability: str, info: Any, *settings: Any) -> str | None:
    """Say how a server's settings contradict what a storage declares; None if they don't.

    Args:
        durability: one of `DURABILITIES`.
        info: the reply to INFO, or the error that came instead. What it does not tell is no contradiction, unless
            the durability depends on it.
        settings: the reply to ``CONFIG GET *appendfsync*``, or the error; needed for any durability but "none".
    """
    said = parsed_info(info)
    found = _eviction(said)
    if found is None and durability != "none":
        found = _unlogged(said, info) or _unsynced(durability, settings[0])
    return found


def _eviction(said: Mapping[str, str]) -> str | None:
    policy = said.get("maxmemory_policy", "")
    if not policy.startswith("allkeys-") or said.get("maxmemory", "0") == "0":
        return None
    return (
        f"maxmemory-policy {policy} lets the server drop any key, so versions could be given twice; "
        "use noeviction or a volatile-* policy"
    )


def _unlogged(said: Mapping[str, str], reply: Any) -> str | None:
    enabled = said.get("aof_enabled")
    if enabled == "1":
        return None
    if enabled is None:
        return f"opened as durable, which can't be verified: INFO does not tell ({reply!s:.80})"
    return "opened as durable, but the server keeps no append-only file; set appendonly yes"


def _unsynced(durability: str, reply: Any) -> str | None:
    if isinstance(reply, Exception):
        return f"opened as {durability}, which can't be verified: CONFIG GET is refused ({reply})"
    words = [word for pair in reply.items() for word in pair] if isinstance(reply, dict) else list(reply)
    texts = [word.decode() if isinstance(word, bytes) else str(word) for word in words]
    settings = dict(zip(texts[::2], texts[1::2], strict=True))
    policy = settings.get("appendfsync")
    if durability == APPEND_ONLY and policy == "everysec":
        # While a slow fsync is on its way the server holds writes back for up to two seconds, in its own memory,
        # and acknowledges them: kill -9 loses them. "no" writes before it acknowledges, and leaves the fsync to the
        # operating system, which outlives the server.
        return (
            f"opened as {durability}, but appendfsync everysec may acknowledge first; set it to always or no"
        )
    if durability == FSYNC_ALWAYS and policy != "always":
        return f"opened as {durability}, but appendfsync is {policy}; set it to always"
    if durability == FSYNC_ALWAYS and settings.get("no-appendfsync-on-rewrite") != "no":
        return f"opened as {durability}, but no-appendfsync-on-rewrite is set; set it to no"
    return None
