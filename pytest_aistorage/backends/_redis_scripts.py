"""The Lua scripts of the Redis backend: each is one atomic step on the server.

The keys of a store, behind its prefix:

``record:<name>``
    ``"<version> <created_at> <updated_at> <fields>"``: decimal numbers, times in microseconds since 1970, and
    the fields as JSON. Expires by Redis' own clock.
``version:<name>``
    The last version given to the model; negative once the record is known to be gone. It never expires, so a
    model that comes back goes on counting. Positive without a record means: expired, and the expiry has yet
    to take its version.
``index``
    The names of all models that may have a record, a sorted set with equal scores: Redis orders it by bytes,
    which for UTF-8 is code point order.
``expiring``
    The names out of the index whose record has a time to live, scored by when it ends (milliseconds).

What holds in every script: records and versions are read before the first write, because Redis does not undo
the writes of a script that fails later; and a save first writes what takes memory, because Redis looks whether
there is any left at the first write only. So a key of a foreign type or a full memory fails a script before it
has changed what a reader sees. Numbers stay text or below 2**53, where Lua's floats are exact; ``%.0f`` writes
them, because ``tostring`` rounds to 14 digits.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

__all__ = [
    "BATCH",
    "CONFLICT",
    "CORRUPT",
    "COUNT",
    "DELETE",
    "EXPIRE",
    "KEEP_TTL",
    "PAGE",
    "SAVE",
    "Script",
    "script",
]

CONFLICT: Final = b"!"
"""Begins the reply of a script that met another version; the version follows, 0 for no record."""

CORRUPT: Final = b"?"
"""Begins the reply of a script that could not read what is stored; the key follows."""

KEEP_TTL: Final = "KEEP"
"""Stands for the time to live of a save that leaves it as it is."""


class Script(NamedTuple):
    """A script's text, and the SHA-1 by which the server knows it once it has seen it."""

    text: str
    sha: str


def script(*parts: str) -> Script:
    """Make a script out of its parts."""
    text = "\n".join(part.strip() for part in parts)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


# slot(): what is kept of a model, as (live, version, created, updated, stale). `live` says whether there is a
# record. Without one, `version` already counts the version that an expiry takes, and `stale` says that this
# is not yet written down. nil: unreadable. No nil among the others, which a table would lose. GETRANGE, because
# only the head matters of what may be megabytes.
_SLOT = """
local function slot(record, version)
  local head = redis.call('GETRANGE', record, 0, 79)
  if head ~= '' then
    local v, c, u = string.match(head, '^(%d+) (%d+) (%d+) ')
    if not v then return nil end
    return true, v, c, u, false
  end
  local last = redis.call('GET', version)
  if not last then return false, '0', false, false, false end
  local sign, digits = string.match(last, '^(-?)(%d+)$')
  if not digits then return nil end
  if sign == '-' then return false, digits, false, false, false end
  return false, string.format('%.0f', tonumber(digits) + 1), false, false, true
end
"""

_CLOCK = """
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
local milliseconds = math.floor(tonumber(now) / 1000)
"""

# settle(): write down that an expiry has taken its version.
_SETTLE = """
local function settle(index, expiring, name, version, taken)
  redis.call('ZREM', index, name)
  redis.call('ZREM', expiring, name)
  redis.call('SET', version, '-' .. taken)
end
"""

# write(): returns the new stamps. The record comes last: should the server refuse one of the commands (an ACL
# without ZREM, say), then a name in the index without a record is skipped by every reader, and a version
# without one is not given again. A clock set back does not make a record look older than it was.
_WRITE = """
local function write(index, expiring, record, version, name, fields, lifetime, before)
  local live, last, created, updated, stale = unpack(before)
  if not live then
    created, updated = now, now
    redis.call('ZADD', index, 0, name)
  elseif tonumber(updated) < tonumber(now) then
    updated = now
  end
  local taken = string.format('%.0f', tonumber(last) + 1)
  local stamps = taken .. ' ' .. created .. ' ' .. updated
  if lifetime == 'KEEP' then
    redis.call('SET', version, taken)
    redis.call('SET', record, stamps .. ' ' .. fields, 'KEEPTTL')
  elseif lifetime == '' then
    redis.call('SET', version, taken)
    if live or stale then redis.call('ZREM', expiring, name) end
    redis.call('SET', record, stamps .. ' ' .. fields)
  else
    redis.call('ZADD', expiring, string.format('%.0f', milliseconds + tonumber(lifetime)), name)
    redis.call('SET', version, taken)
    redis.call('SET', record, stamps .. ' ' .. fields, 'PX', lifetime)
  end
  return stamps
end
"""

# sweep(): let a few expired models leave the index. Each save with a time to live adds one name at most and
# removes up to `most`, so models that expire and never come back don't pile up there. Nobody can tell it from
# an expiry that is settled later: the version that it takes is the same. It runs after the writes, so it must
# not fail the script: a model that can't be read is left to who asks for it.
_SWEEP = """
local function sweep(index, expiring, records, versions, most)
  local due = redis.call('ZRANGEBYSCORE', expiring, '-inf', milliseconds, 'LIMIT', 0, most)
  for _, name in ipairs(due) do
    local readable, live, last = pcall(slot, records .. name, versions .. name)
    if readable and live == false then settle(index, expiring, name, versions .. name, last) end
  end
end
"""

SAVE: Final = script(
    """
-- KEYS: record, version, index, expiring.
-- ARGV: name, fields, expected version or '', time to live in ms, '' or KEEP.
-- Returns 'version created updated', '!actual' or '?key'.
""",
    _CLOCK,
    _SLOT,
    _SETTLE,
    _WRITE,
    _SWEEP,
    """
local record, version, index, expiring = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, fields, expected, lifetime = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local before = {slot(record, version)}
local live, last, stale = before[1], before[2], before[5]
if live == nil then return '?' .. record end
local actual = live and last or '0'
if expected ~= '' and expected ~= actual then
  if stale then settle(index, expiring, name, version, last) end
  return '!' .. actual
end
local stamps = write(index, expiring, record, version, name, fields, lifetime, before)
if lifetime ~= '' and lifetime ~= 'KEEP' then
  sweep(index, expiring, string.sub(record, 1, -#name - 1), string.sub(version, 1, -#name - 1), 4)
end
return stamps
""",
)

BATCH: Final = script(
    """
-- KEYS: index, expiring.
-- ARGV: prefix of records, prefix of versions, time to live in ms or '', then name, fields, name, fields, ...
-- Returns the stamps of all, in order, joined by spaces: a client parses one string faster than an array.
""",
    _CLOCK,
    _SLOT,
    _SETTLE,
    _WRITE,
    _SWEEP,
    """
local records, versions, lifetime = ARGV[1], ARGV[2], ARGV[3]
local index, expiring = KEYS[1], KEYS[2]
local slots, stamps = {}, {}
for i = 4, #ARGV, 2 do
  local name = ARGV[i]
  slots[i] = {slot(records .. name, versions .. name)}
  if slots[i][1] == nil then return '?' .. records .. name end
end
for i = 4, #ARGV, 2 do
  local record, version = records .. ARGV[i], versions .. ARGV[i]
  stamps[#stamps + 1] = write(index, expiring, record, version, ARGV[i], ARGV[i + 1], lifetime, slots[i])
end
if lifetime ~= '' then sweep(index, expiring, records, versions, #stamps + 4) end
return table.concat(stamps, ' ')
""",
)

DELETE: Final = script(
    """
-- KEYS: record, version, index, expiring. ARGV: name, expected version or ''.
-- Returns the version that the delete took, nil where there was nothing, '!actual' or '?key'.
""",
    _SLOT,
    _SETTLE,
    """
local record, version, index, expiring = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, expected = ARGV[1], ARGV[2]
local live, last, _, _, stale = slot(record, version)
if live == nil then return '?' .. record end
if stale then settle(index, expiring, name, version, last) end
local actual = live and last or '0'
if expected ~= '' and expected ~= actual and (live or expected ~= '0') then return '!' .. actual end
if not live then return false end
local taken = string.format('%.0f', tonumber(last) + 1)
settle(index, expiring, name, version, taken)
redis.call('DEL', record)
return taken
""",
)

EXPIRE: Final = script(
    """
-- KEYS: record, expiring. ARGV: name. Returns whether there was a record.
-- The version stays as it is: an expiry takes one at the next mutation.
""",
    _CLOCK,
    """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('ZADD', KEYS[2], milliseconds, ARGV[1])
redis.call('DEL', KEYS[1])
return 1
""",
)

PAGE: Final = script(
    """
-- KEYS: index. ARGV: prefix of records, least and greatest name as ZRANGEBYLEX takes them, how many or -1.
-- Returns how many names it met, the last of them, then strings of 'name NUL value NUL ...': a client parses
-- few long strings many times as fast as many short ones, and neither names nor JSON hold a NUL.
-- 500 at a time, because Lua's stack ends unpack() at about 8000 values.
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local reply = {#names, names[#names] or ''}
for first = 1, #names, 500 do
  local last = math.min(first + 499, #names)
  local keys, parts = {}, {}
  for i = first, last do keys[#keys + 1] = ARGV[1] .. names[i] end
  local values = redis.call('MGET', unpack(keys))
  for i, key in ipairs(keys) do
    -- MGET passes over a key of a foreign type as if it were absent; GET fails, as it should.
    local value = values[i] or redis.call('GET', key)
    if value then
      parts[#parts + 1] = names[first + i - 1]
      parts[#parts + 1] = value
    end
  end
  if #parts > 0 then reply[#reply + 1] = table.concat(parts, '\\0') end
end
return reply
""",
)

COUNT: Final = script(
    """
-- KEYS: index, expiring. ARGV: prefix of records. What can't expire is counted without looking at it.
local count = redis.call('ZCARD', KEYS[1]) - redis.call('ZCARD', KEYS[2])
local names = redis.call('ZRANGE', KEYS[2], 0, -1)
for first = 1, #names, 500 do
  local keys = {}
  for i = first, math.min(first + 499, #names) do keys[#keys + 1] = ARGV[1] .. names[i] end
  count = count + redis.call('EXISTS', unpack(keys))
end
return count
""",
)
