"""The verbs of the Redis store as Lua scripts: each runs alone on the server, so each is atomic.

Keys of one script share a hash tag, so that they live on one node of a cluster. Numbers that must come back as they
were are written with 17 digits; Lua's own form has 14, which is not enough for a time.
"""

from __future__ import annotations

from gatekeeper.store.base import AHEAD, DISTINCT_MOST, UNLEAKING_KEPT

_EXACT = """
local function exact(n) return string.format('%.17g', n) end
"""

# Those that have ended, and those beyond so many, are both the lowest of an order by their end.
_LOWEST = """
local function lowest(index, before, portion, most)
  local n = math.max(redis.call('ZCOUNT', index, '-inf', before), redis.call('ZCARD', index) - most)
  n = math.min(n, tonumber(portion))
  return n > 0 and redis.call('ZRANGE', index, 0, n - 1) or {}
end
"""

# A bucket is a hash; an index has the ends of all of them.
_BUCKET = (
    _EXACT
    + """
local function leaked(key, rate, now)
  local b = redis.call('HMGET', key, 'l', 'a', 'r')
  local level, at, before = tonumber(b[1] or '0'), tonumber(b[2] or '0'), tonumber(b[3] or '0')
  if before > 0 and level <= before * (now - at) then level = 0 end -- it may have gone by now
  return math.max(0, level - rate * math.max(0, now - at)), at
end
local ends = KEYS[#KEYS]
local function keep(key, level, at, rate, now)
  at = at > now + AHEAD and now or math.max(at, now)
  redis.call('HSET', key, 'l', exact(level), 'a', exact(at), 'r', exact(rate))
  local seconds = UNLEAKING
  if rate > 0 then seconds = math.min(seconds * 100, level / rate + at - now) end
  redis.call('EXPIRE', key, math.ceil(seconds) + 1)
  redis.call('ZADD', ends, exact(now + seconds), key)
end
""".replace("UNLEAKING", str(int(UNLEAKING_KEPT))).replace("AHEAD", str(AHEAD))
)

SPEND = (
    _BUCKET
    + """
local now, out = tonumber(ARGV[1]), {}
for i = 1, #KEYS - 1 do
  local key = KEYS[i]
  local cost, rate = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local level, at = leaked(key, rate, now)
  if cost ~= 0 then
    level = math.max(0, level + cost)
    keep(key, level, at, rate, now)
  end
  out[i] = exact(level)
end
return out
"""
)
"""KEYS buckets, index of ends; ARGV now, then cost and rate for each bucket. The levels."""

TAKE = (
    _BUCKET
    + """
local now, out, room, levels = tonumber(ARGV[1]), {}, true, {}
for i = 1, #KEYS - 1 do
  local key = KEYS[i]
  local cost, burst, rate = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local known = levels[key]
  local level, at
  if known then level, at = known[1], known[2] else level, at = leaked(key, rate, now) end
  local over = level + math.min(cost, burst) - burst
  if over > 1e-9 then
    room = false
    out[i] = rate > 0 and exact(over / rate) or 'inf'
  else
    out[i] = '0'
  end
  levels[key] = {level + math.min(cost, burst), at, rate}
end
if room then
  for key, known in pairs(levels) do keep(key, known[1], known[2], known[3], now) end
end
return out
"""
)
"""KEYS buckets, index of ends; ARGV now, then cost, burst and rate for each bucket. The waits."""

PUT_BUCKET = _BUCKET + "keep(KEYS[1], tonumber(ARGV[1]), 0, tonumber(ARGV[3]), tonumber(ARGV[2]))"
"""KEYS bucket, index of ends; ARGV level, at, rate: as it stands in another store."""

FORGET_BUCKETS = (
    _LOWEST
    + """
local gone = lowest(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
for _, key in ipairs(gone) do
  redis.call('DEL', key)
  redis.call('ZREM', KEYS[1], key)
end
return #gone
"""
)
"""KEYS index of ends; ARGV now, portion, most."""

# A set of sightings is ordered by their ends; an index has the ends of all sets, under the set's name and the digest.
DISTINCT = """
local now, most, out, ends = tonumber(ARGV[1]), MOST, {}, KEYS[#KEYS]
for i = 1, #KEYS - 1 do
  local key = KEYS[i]
  local member, window = ARGV[2 * i], tonumber(ARGV[2 * i + 1])
  if member ~= '' then
    local known = redis.call('ZSCORE', key, member)
    if not known and redis.call('ZCARD', key) >= most then redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[1]) end
    if known or redis.call('ZCARD', key) < most then
      local till = string.format('%.17g', math.max(tonumber(known or '0'), now + window))
      redis.call('ZADD', key, till, member)
      redis.call('ZADD', ends, till, key .. member)
      redis.call('EXPIRE', key, math.max(redis.call('TTL', key), math.ceil(window) + 1))
    end
  end
  out[i] = redis.call('ZCOUNT', key, '(' .. ARGV[1], '+inf')
end
return out
""".replace("MOST", str(DISTINCT_MOST), 1)
"""KEYS sets, index of ends; ARGV now, then digest ("" only looks) and window for each set. The counts."""

FORGET_SIGHTINGS = (
    _LOWEST
    + """
local gone = lowest(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
for _, one in ipairs(gone) do
  redis.call('ZREM', string.sub(one, 1, -9), string.sub(one, -8)) -- a digest has 8 octets
  redis.call('ZREM', KEYS[1], one)
end
return #gone
"""
)
"""KEYS index of ends; ARGV now, portion, most."""

# A history is a hash; those of whom something was accepted and the others have an index each.
REMEMBER = (
    _EXACT
    + """
local now = tonumber(ARGV[4])
local h = redis.call('HMGET', KEYS[1], 'a', 'r', 'f', 'l')
local first, last = math.min(tonumber(h[3] or ARGV[4]), now), math.max(tonumber(h[4] or ARGV[4]), now)
local accepted, refused = tonumber(h[1] or '0') + tonumber(ARGV[2]), tonumber(h[2] or '0') + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'a', accepted, 'r', refused, 'f', exact(first), 'l', exact(last))
redis.call('ZADD', KEYS[accepted > 0 and 2 or 3], exact(last), ARGV[1])
if accepted > 0 and tonumber(h[1] or '0') <= 0 then redis.call('ZREM', KEYS[3], ARGV[1]) end
return {tostring(accepted), tostring(refused), exact(first), exact(last)}
"""
)
"""KEYS history, index by last of those with accepted mail, of the others; ARGV name, accepted, refused, now."""

PUT_HISTORY = """
redis.call('HSET', KEYS[1], 'a', ARGV[2], 'r', ARGV[3], 'f', ARGV[4], 'l', ARGV[5])
redis.call('ZADD', KEYS[tonumber(ARGV[2]) > 0 and 2 or 3], ARGV[5], ARGV[1])
"""
"""KEYS as REMEMBER; ARGV name, accepted, refused, first, last: as it stands in another store."""

FORGET_HISTORIES = (
    _LOWEST
    + """
local others = KEYS[2] and redis.call('ZCARD', KEYS[2]) or 0
local gone = lowest(KEYS[1], '(' .. ARGV[1], ARGV[2], ARGV[3] - others)
for _, name in ipairs(gone) do
  redis.call('DEL', ARGV[4] .. name)
  redis.call('ZREM', KEYS[1], name)
end
return #gone
"""
)
"""KEYS index by last, and one whose histories leave less room; ARGV before, portion, most, prefix of the histories."""

# Blocks: a sorted set of ends, a sorted set of the change each saw last, and hashes of the rest. A block that was
# lifted stays with the end 0 until every process has noticed.
BLOCK = """
local name, since, till = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local change = redis.call('INCR', KEYS[1])
local known = tonumber(redis.call('ZSCORE', KEYS[2], name) or '-1')
local begun = tonumber(redis.call('HGET', KEYS[4], name) or ARGV[2])
if till <= known and begun <= till then
  if begun <= since then return 0 end
  redis.call('HSET', KEYS[4], name, ARGV[2])
  redis.call('ZADD', KEYS[3], change, name)
  return 1
end
if known < 0 or since > known or begun >= since then redis.call('HSET', KEYS[4], name, ARGV[2]) end
redis.call('ZADD', KEYS[2], ARGV[3], name)
redis.call('ZADD', KEYS[3], change, name)
redis.call('HSET', KEYS[5], name, ARGV[4])
redis.call('HSET', KEYS[6], name, ARGV[5])
return 1
"""
"""KEYS counter, ends, changes, beginnings, reasons, records; ARGV name, since, until, reason, record."""

LIFT = """
local change = redis.call('INCR', KEYS[1])
local known = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0')
if known <= 0 then return 0 end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('ZADD', KEYS[3], change, ARGV[1])
return 1
"""
"""KEYS as BLOCK; ARGV name."""

BLOCKS = """
local names
if ARGV[1] == 'ends' then names = redis.call('ZREVRANGEBYSCORE', KEYS[2], '+inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])
else names = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3]) end
local out = {redis.call('GET', KEYS[1]) or '0'}
for _, name in ipairs(names) do
  for _, part in ipairs({name, redis.call('HGET', KEYS[4], name) or '0', redis.call('ZSCORE', KEYS[2], name) or '0',
      redis.call('HGET', KEYS[5], name) or '', redis.call('HGET', KEYS[6], name) or ''}) do
    out[#out + 1] = part
  end
end
return out
"""
"""KEYS as BLOCK; ARGV "ends" and a time, or "changes" and a counter; then how many. The counter, then five a block."""

FORGET_BLOCKS = """
local gone = 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local till, change = redis.call('ZSCORE', KEYS[2], name), redis.call('ZSCORE', KEYS[3], name)
  if tonumber(till) > 0 or tonumber(change or '0') <= tonumber(ARGV[2]) then
    for n = 2, 3 do redis.call('ZREM', KEYS[n], name) end
    for n = 4, 6 do redis.call('HDEL', KEYS[n], name) end
    gone = gone + 1
  end
end
return gone
"""
"""KEYS as BLOCK; ARGV now, last change that all have noticed, portion."""

LIFT_BEYOND = """
local over = redis.call('ZCOUNT', KEYS[2], '(0', '+inf') - ARGV[2]
if over <= 0 then return 0 end
local change = redis.call('INCR', KEYS[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '(0', '+inf', 'LIMIT', 0, math.min(over, tonumber(ARGV[1])))
for _, name in ipairs(gone) do
  redis.call('ZADD', KEYS[2], 0, name)
  redis.call('ZADD', KEYS[3], change, name)
end
return #gone
"""
"""KEYS as BLOCK; ARGV portion, most."""

# Notes and tallies: a hash of values, a sorted set of ends, and one of keys in the order of their octets.
PUT = """
for i = 1, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i])
  redis.call('ZADD', KEYS[3], 0, ARGV[i])
end
"""
"""KEYS values, ends, keys; ARGV key, value, until for each."""

ADD = """
for i = 1, #ARGV, 3 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
  local known = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if not known or tonumber(known) < tonumber(ARGV[i + 2]) then redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i]) end
  redis.call('ZADD', KEYS[3], 0, ARGV[i])
end
"""
"""KEYS values, ends, keys; ARGV key, amount, until for each."""

SWAP = """
local till, known = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '-1'), redis.call('HGET', KEYS[1], ARGV[1])
if till <= tonumber(ARGV[2]) then known = false end
if ARGV[3] == 'absent' then
  if known then return 0 end
elseif known ~= ARGV[4] then return 0 end
if ARGV[5] == 'drop' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[6])
  redis.call('ZADD', KEYS[2], ARGV[7], ARGV[1])
  redis.call('ZADD', KEYS[3], 0, ARGV[1])
end
return 1
"""
"""KEYS values, ends, keys; ARGV key, now, "absent" or "is", old, "drop" or "put", new, until."""

DROP = """
local gone = 0
for _, key in ipairs(ARGV) do
  gone = gone + redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
  redis.call('ZREM', KEYS[3], key)
end
return gone
"""
"""KEYS values, ends, keys; ARGV keys."""

LIST = """
local now, most, out, from = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, '[' .. ARGV[3]
local found = 0
while found < most do
  local keys = redis.call('ZRANGEBYLEX', KEYS[3], from, '(' .. ARGV[3] .. '\\255', 'LIMIT', 0, 1000)
  for _, key in ipairs(keys) do
    local till = redis.call('ZSCORE', KEYS[2], key)
    if till and tonumber(till) > now and found < most then
      found = found + 1
      out[#out + 1] = key
      out[#out + 1] = redis.call('HGET', KEYS[1], key) or ''
      out[#out + 1] = till
    end
  end
  if #keys < 1000 then break end
  from = '(' .. keys[#keys]
end
return out
"""
"""KEYS values, ends, keys; ARGV now, most, prefix. Key, value, until for each."""

GET = """
local now, out = tonumber(ARGV[1]), {}
for i = 2, #ARGV do
  local till = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if till and tonumber(till) > now then
    out[#out + 1] = ARGV[i]
    out[#out + 1] = redis.call('HGET', KEYS[1], ARGV[i]) or ''
    out[#out + 1] = till
  end
end
return out
"""
"""KEYS values, ends, keys; ARGV now, keys. As LIST."""

FORGET_ENDED = (
    _LOWEST
    + """
local gone = lowest(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
for _, key in ipairs(gone) do
  redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
  redis.call('ZREM', KEYS[3], key)
end
return #gone
"""
)
"""KEYS values, ends, keys; ARGV now, portion, most."""

# Lessons: a hash of their texts, sorted sets of the ends of ham and of spam, one of keys in the order of their octets,
# and a hash of traits, whose values hold both counts (store/redis_lessons.py).
LEARN = """
local known = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] == 'absent' then
  if known then return 0 end
elseif known ~= ARGV[3] then return 0 end
for n = 2, 4 do redis.call('ZREM', KEYS[n], ARGV[1]) end
if ARGV[4] == 'drop' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
  redis.call('ZADD', ARGV[5] == 'spam' and KEYS[3] or KEYS[2], ARGV[6], ARGV[1])
  redis.call('ZADD', KEYS[4], 0, ARGV[1])
end
for i = 7, #ARGV, 2 do
  if redis.call('HINCRBY', KEYS[5], ARGV[i], ARGV[i + 1]) == 0 then redis.call('HDEL', KEYS[5], ARGV[i]) end
end
return 1
"""
"""KEYS texts, ends of ham, ends of spam, keys, traits; ARGV key, "absent" or "is", old, new or "drop", class, until,
then trait and change for each.
"""

LESSONS = """
local keys, out = ARGV, {}
if #KEYS == 2 then keys = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+', 'LIMIT', 0, ARGV[2]) end
for _, key in ipairs(keys) do
  local text = redis.call('HGET', KEYS[1], key)
  if text then
    out[#out + 1] = key
    out[#out + 1] = text
  end
end
return out
"""
"""KEYS texts; ARGV keys. Or KEYS texts, keys; ARGV from where on, how many. Key and text for each."""

ENDING_LESSONS = _LOWEST + "return lowest(KEYS[1], ARGV[1], ARGV[2], ARGV[3])"
"""KEYS ends; ARGV now, portion, most. The keys of lessons that go."""

# Records: the record as text, the names of the indexes it stands in, and the indexes, each ordered by time.
PUT_RECORDS = """
local prefix = ARGV[1]
for i = 2, #ARGV, 4 do
  local id = ARGV[i]
  local before = redis.call('GET', prefix .. 'x:' .. id)
  if before then for _, name in ipairs(cjson.decode(before)) do redis.call('ZREM', prefix .. name, id) end end
  redis.call('SET', prefix .. 'r:' .. id, ARGV[i + 2])
  redis.call('SET', prefix .. 'x:' .. id, ARGV[i + 3])
  for _, name in ipairs(cjson.decode(ARGV[i + 3])) do redis.call('ZADD', prefix .. name, ARGV[i + 1], id) end
end
"""
"""KEYS the prefix, for its slot; ARGV the prefix, then id, time, text and names of its indexes as JSON for each."""

FIND_RECORDS = """
local index = KEYS[1] .. ARGV[1]
local ids = redis.call('ZREVRANGEBYSCORE', index, ARGV[2], ARGV[3], 'WITHSCORES', 'LIMIT', ARGV[4], ARGV[5])
local last, same = ids[#ids] or '', 0
for i = #ids, 2, -2 do
  if ids[i] ~= last then break end
  same = same + 1
end
local out = {#ids / 2, last, same}
for i = 1, #ids, 2 do out[#out + 1] = redis.call('GET', KEYS[1] .. 'r:' .. ids[i]) or '' end
return out
"""
"""KEYS the prefix; ARGV index, latest, earliest, offset, how many. How many there were, the time of the last and how
many of these are of that time, then their texts.
"""

FORGET_RECORDS = (
    _LOWEST
    + """
local gone = lowest(KEYS[1] .. 'time', '(' .. ARGV[1], ARGV[2], ARGV[3])
for _, id in ipairs(gone) do
  for _, name in ipairs(cjson.decode(redis.call('GET', KEYS[1] .. 'x:' .. id) or '["time"]')) do
    redis.call('ZREM', KEYS[1] .. name, id)
  end
  redis.call('DEL', KEYS[1] .. 'r:' .. id, KEYS[1] .. 'x:' .. id)
end
return #gone
"""
)
"""KEYS the prefix; ARGV before, portion, most."""
