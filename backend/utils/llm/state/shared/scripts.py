"""What is done on the state server in one step each, in Lua. Times are milliseconds of its own clock."""

from __future__ import annotations

_WINDOW = """
local now = tonumber(ARGV[1])
if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A window is a hash: amounts by bucket, their sum 't', and 'o', the oldest bucket that it may hold.
local function name(bucket) return string.format('%.0f', bucket) end

local function amounts(key, from, to)
    local fields = {}
    for bucket = from, to do fields[#fields + 1] = name(bucket) end
    return redis.call('HMGET', key, unpack(fields)), fields
end

local function expired(key, length, grain)
    local head = redis.call('HMGET', key, 'o', 't')
    local oldest, sum = tonumber(head[1]), tonumber(head[2]) or 0
    local first = math.floor((now - length) / grain)
    if not oldest or oldest >= first then return oldest or first, sum, first end
    if first - oldest > length / grain then
        redis.call('DEL', key)
        return first, 0, first
    end
    while oldest < first do
        local to = math.min(first, oldest + 100) - 1
        local found, fields = amounts(key, oldest, to)
        for _, amount in ipairs(found) do sum = sum - (tonumber(amount) or 0) end
        redis.call('HDEL', key, unpack(fields))
        oldest = to + 1
    end
    redis.call('HSET', key, 'o', name(oldest), 't', sum)
    return oldest, sum, first
end

local function add(key, bucket, amount, oldest, sum, length, grain)
    redis.call('HINCRBY', key, name(bucket), amount)
    redis.call('HSET', key, 'o', name(math.min(oldest, bucket)), 't', sum + amount)
    redis.call('PEXPIRE', key, math.ceil(length + 2 * grain) + 1000)
end
"""

RESERVE = (
    _WINDOW
    + """
-- ARGV: now or 0, the request's name; for each of KEYS its kind, what is asked, the most, the length, the grain.
local function until_free(key, oldest, sum, ask, most, length, grain)
    local need, last = sum + ask - most, math.floor(now / grain)
    while oldest <= last do
        local to = math.min(last, oldest + 99)
        for place, amount in ipairs((amounts(key, oldest, to))) do
            need = need - (tonumber(amount) or 0)
            if need <= 0 then return math.max(1, math.ceil((oldest + place) * grain + length - now)) end
        end
        oldest = to + 1
    end
    return math.ceil(length)
end

local rows, granted = {}, 1
for place, key in ipairs(KEYS) do
    local at = 3 + (place - 1) * 5
    local row = {
        kind = ARGV[at], ask = tonumber(ARGV[at + 1]), most = tonumber(ARGV[at + 2]),
        length = tonumber(ARGV[at + 3]), grain = tonumber(ARGV[at + 4]),
    }
    if row.kind == 'window' then
        row.oldest, row.sum = expired(key, row.length, row.grain)
    elseif row.kind == 'total' then
        row.sum = tonumber(redis.call('GET', key)) or 0
    else
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        row.sum = redis.call('ZCARD', key)
    end
    if row.sum + row.ask > row.most then granted = 0 end
    rows[place] = row
end

local reply = { granted }
for place, key in ipairs(KEYS) do
    local row, bucket = rows[place], -1
    if row.kind == 'window' then bucket = math.floor(now / row.grain) end
    if granted == 1 then
        if row.kind == 'window' then
            add(key, bucket, row.ask, row.oldest, row.sum, row.length, row.grain)
        elseif row.kind == 'total' then
            redis.call('INCRBY', key, row.ask)
            redis.call('PEXPIRE', key, row.length)
        else
            redis.call('ZADD', key, now + row.length, ARGV[2])
            redis.call('PEXPIRE', key, row.length + 1000)
        end
        row.sum = row.sum + row.ask
    end
    local wait = 0
    if row.sum + row.ask > row.most then
        wait = -1
        if row.kind == 'window' then
            wait = until_free(key, row.oldest, row.sum, row.ask, row.most, row.length, row.grain)
        end
    end
    reply[#reply + 1] = row.most - row.sum
    reply[#reply + 1] = wait
    reply[#reply + 1] = bucket
end
return reply
"""
)
"""Takes from all limits or from none. Answers 1 or 0, and for each what is left, how long until as much is free again (0 if it is,
-1 if nobody knows), and the bucket."""

CHANGE = (
    _WINDOW
    + """
-- ARGV: now or 0; for each of KEYS its kind, the bucket or -1, the amount, the length, the grain.
for place, key in ipairs(KEYS) do
    local at = 2 + (place - 1) * 5
    local bucket, amount = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local length, grain = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    if ARGV[at] == 'window' then
        local oldest, sum, first = expired(key, length, grain)
        if bucket < 0 then bucket = math.floor(now / grain) end
        if bucket >= first then add(key, bucket, amount, oldest, sum, length, grain) end
    else
        redis.call('INCRBY', key, amount)
        redis.call('PEXPIRE', key, length)
    end
end
return now
"""
)
"""Counts more, or less, where it was counted, as far as that still counts."""

HOLD = """
-- KEYS: those of places. ARGV: now or 0, milliseconds of a lease; for each key a request's name.
local now = tonumber(ARGV[1])
if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for place, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[2], ARGV[2 + place])
    redis.call('PEXPIRE', key, ARGV[2] + 1000)
end
return now
"""
"""Keeps places that are taken."""

BEAT = """
-- KEYS: the processes, the generation. ARGV: the process's name, milliseconds for which it counts, a new generation.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- First what a server without memory refuses: after any other write it refuses nothing more of a script.
redis.call('SET', KEYS[2], ARGV[3], 'NX')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2] + 1000)
redis.call('EXPIRE', KEYS[2], 86400)
return { redis.call('ZCARD', KEYS[1]), redis.call('GET', KEYS[2]), now }
"""
"""Says that a process is there. Answers how many are, what the server's memory is called since it was last empty, and its time."""
