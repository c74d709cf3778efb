"""The Lua scripts of a hybrid storage that writes behind: each is one atomic step on the cache.

All keys of an epoch begin with its name, which holds the `run_id` of the process that it is of: what a restarted
cache brings back from its disk belongs to an epoch that is over.

``lease``
    While it is there, the cache may answer. Its end is never later than one lease after the database said that the
    epoch is open, so whoever has closed the epoch there knows when the cache has fallen silent.
``renew:<client>``
    How long a lease would last that this client is about to renew; set before it asks the database.
``over``
    The epoch is being closed: no lease is given any more.
``model:<name>``
    ``"<last> <version> <created_at> <updated_at> <fields>"`` or, where there is no record, ``"<last> -"``: `last` is
    the last version given to the model, which may be above the record's own after a loss of the cache. It never
    expires before it is in the database.
``claim:<name>``
    The right to put into ``model:<name>`` what was read in the database since. It is gone once somebody has done so;
    whoever comes later read what may be outdated by now.
``dirty``
    The models whose last change is not in the database, each with the last version that is.
``seq``
    Counts the takings of what is dirty, so that the database takes none that is older than the one it has.
"""

from __future__ import annotations

from typing import Final

from ._redis_scripts import script

__all__ = [
    "ACK",
    "CONFLICT",
    "FILL",
    "FULL",
    "MISSING",
    "NOTHING",
    "NO_LEASE",
    "OVER",
    "READ",
    "RENEW",
    "TAKE",
    "WRITE",
]

NO_LEASE: Final = b"L"
"""The reply of a script that met no lease: renew it."""

MISSING: Final = b"M"
"""Begins the reply of a script that met no copy; the places of the models and their claims follow."""

FULL: Final = b"F"
"""The reply of a script that would leave too much unwritten: write it first."""

NOTHING: Final = b"N"
"""The reply of a delete that met no record."""

CONFLICT: Final = b"!"
"""Begins the reply of a script that met another version, which follows."""

_LEASED: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 'L' end
"""

_CLAIM: Final = """
local function claim(key, token, lasting)
  local there = redis.call('GET', key)
  if there then return there end
  redis.call('SET', key, token, 'PX', lasting)
  return token
end
"""

READ: Final = script(
    "-- KEYS: lease, model, claim. ARGV: token, how long a claim lasts (ms).",
    _LEASED,
    _CLAIM,
    """
return redis.call('GET', KEYS[2]) or ('M0 ' .. claim(KEYS[3], ARGV[1], ARGV[2]))
""",
)

FILL: Final = script(
    """
-- KEYS: model, claim. ARGV: claim, the model's text, how long it is kept (ms). Returns whether it was filled.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
)

WRITE: Final = script(
    """
-- KEYS: lease, dirty, then model and claim of each. ARGV: token, how long a claim lasts (ms), most dirty models, most
-- versions of a model ahead of the database, then of each: name, fields (empty: delete), expected version or ''.
-- Returns 'V' and the stamps of all, or one of the codes above; only 'V' has written.
""",
    _LEASED,
    _CLAIM,
    """
local models, missing, heads = (#KEYS - 2) / 2, {}, {}
for i = 1, models do
  heads[i] = redis.call('GETRANGE', KEYS[2 * i + 1], 0, 95)
  if heads[i] == '' then missing[#missing + 1] = (i - 1) .. ' ' .. claim(KEYS[2 * i + 2], ARGV[1], ARGV[2]) end
end
if #missing > 0 then return 'M' .. table.concat(missing, ' ') end
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
local plans, dirty = {}, redis.call('HLEN', KEYS[2])
local room = tonumber(ARGV[3]) - dirty
for i = 1, models do
  local name, fields, expected = ARGV[3 * i + 2], ARGV[3 * i + 3], ARGV[3 * i + 4]
  local last, version, created, updated = string.match(heads[i], '^(%d+) (%d+) (%d+) (%d+) ')
  if not last then last = string.match(heads[i], '^(%d+) %-$') end
  local actual = version or '0'
  if expected ~= '' and expected ~= actual and (fields ~= '' or version or expected ~= '0') then
    return '!' .. actual
  end
  if fields == '' and not version then return 'N' end
  local base = redis.call('HGET', KEYS[2], name)
  if not base then room = room - 1 end
  if base and tonumber(last) - tonumber(base) + 1 >= tonumber(ARGV[4]) then return 'F' end
  local taken = string.format('%.0f', tonumber(last) + 1)
  if fields == '' then
    plans[i] = {taken, taken .. ' -', last}
  else
    if not version then
      created, updated = now, now
    elseif tonumber(updated) < tonumber(now) then
      updated = now
    end
    local stamps = taken .. ' ' .. created .. ' ' .. updated
    plans[i] = {stamps, taken .. ' ' .. stamps .. ' ' .. fields, last}
  end
end
if room < 0 and dirty > 0 then return 'F' end
local stamps = {}
for i = 1, models do
  redis.call('HSETNX', KEYS[2], ARGV[3 * i + 2], plans[i][3])
  redis.call('SET', KEYS[2 * i + 1], plans[i][2])
  stamps[i] = plans[i][1]
end
return 'V' .. table.concat(stamps, ' ')
""",
)

TAKE: Final = script(
    """
-- KEYS: lease, dirty, seq. ARGV: prefix of models, whether without a lease too.
-- Returns the number of this taking, then name, last version in the database and text of each dirty model.
if ARGV[2] == '0' and redis.call('EXISTS', KEYS[1]) == 0 then return 'L' end
local all = redis.call('HGETALL', KEYS[2])
if #all == 0 then return {0} end
local reply = {redis.call('INCR', KEYS[3])}
for i = 1, #all, 2 do
  reply[#reply + 1] = all[i]
  reply[#reply + 1] = all[i + 1]
  reply[#reply + 1] = redis.call('GET', ARGV[1] .. all[i])
end
return reply
"""
)

ACK: Final = script(
    """
-- KEYS: dirty. ARGV: prefix of models, how long a copy is kept (ms), then name and version of what is in the
-- database. Returns how many models are dirty still.
for i = 3, #ARGV, 2 do
  local base = redis.call('HGET', KEYS[1], ARGV[i])
  if base and tonumber(base) < tonumber(ARGV[i + 1]) then
    local last = string.match(redis.call('GETRANGE', ARGV[1] .. ARGV[i], 0, 20), '^(%d+) ')
    if last == ARGV[i + 1] then
      redis.call('HDEL', KEYS[1], ARGV[i])
      redis.call('PEXPIRE', ARGV[1] .. ARGV[i], ARGV[2])
    else
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
  end
end
return redis.call('HLEN', KEYS[1])
"""
)

RENEW: Final = script(
    """
-- KEYS: renew, lease, over, dirty. ARGV: token.
-- Returns how many models are dirty; -1: too late, or the epoch is over.
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
local left = redis.call('PTTL', KEYS[1])
redis.call('DEL', KEYS[1])
if left <= 0 then return -1 end
if redis.call('PTTL', KEYS[2]) < left then redis.call('SET', KEYS[2], '1', 'PX', left) end
return redis.call('HLEN', KEYS[4])
"""
)

OVER: Final = script(
    """
-- KEYS: lease, over. ARGV: how long it is remembered (ms), longer than any lease.
redis.call('SET', KEYS[2], '1', 'PX', ARGV[1])
redis.call('DEL', KEYS[1])
return 1
"""
)
