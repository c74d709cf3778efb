"""The Lua scripts of a hybrid storage's cache: each is one atomic step on the cache.

The keys, behind a prefix that names the store and the process that the cache runs as: what a restarted cache brings
back from its own disk lies under another name, and is never read.

``value:<name>``
    What a client read in the database, until the lease ends under which it read.
``fill:<name>``
    The one client that may fill the value, and how long its lease still lasts. It is taken before the client reads
    the database, so that the lease covers the reading; whoever announces a write takes it away.
``block:<name>``
    The writes under way, each with the moment (milliseconds) by which it has ended. Nothing is filled meanwhile.
``epoch``
    Since when (milliseconds) the cache remembers announcements. One that has just lost them, by FLUSHALL or by a
    restart, is filled only when every write that may have been announced before has ended.
"""

from __future__ import annotations

from typing import Final

from ._redis_scripts import script

__all__ = ["BLOCK", "BLOCKED", "BUSY", "CLAIM", "FILL", "GRANTED"]

BLOCKED: Final = 0
"""A write is under way: read the database, and fill nothing."""

BUSY: Final = 1
"""Another client is filling."""

GRANTED: Final = 2
"""Read the database and fill."""


_NOW: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""

CLAIM: Final = script(
    _NOW
    + """
local value = redis.call('GET', KEYS[1])
if value then return value end
if redis.call('EXISTS', KEYS[4]) == 0 then redis.call('SET', KEYS[4], now, 'PX', ARGV[3]) end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
if redis.call('ZCARD', KEYS[3]) > 0 then return 0 end
if redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2], 'NX') then return 2 end
return 1
"""
)
"""Keys: value, fill, block, epoch. Arguments: the client's token, the lease, how long to remember the epoch (both
milliseconds). Returns the value, or one of the numbers above."""

FILL: Final = script(
    _NOW
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local left = redis.call('PTTL', KEYS[2])
redis.call('DEL', KEYS[2])
local since = redis.call('GET', KEYS[3])
if left <= 0 or ARGV[2] == '' or not since or now - tonumber(since) < tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', left)
return 1
"""
)
"""Keys: value, fill, epoch. Arguments: the token, the value (empty: give the claim back), the longest span of a write
(milliseconds). Returns 1 if the value was filled."""

BLOCK: Final = script(
    _NOW
    + """
for first = 1, #KEYS, 3 do
  redis.call('DEL', KEYS[first], KEYS[first + 1])
  redis.call('ZADD', KEYS[first + 2], now + tonumber(ARGV[2]), ARGV[1])
  if redis.call('PTTL', KEYS[first + 2]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[first + 2], ARGV[2])
  end
end
return 1
"""
)
"""Keys: value, fill and block of each model. Arguments: the write's token, its span (milliseconds)."""
