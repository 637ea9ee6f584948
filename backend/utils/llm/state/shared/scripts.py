"""The Lua scripts that the state server runs, each in one atomic step. Times are milliseconds of the server's clock."""

from __future__ import annotations

from .store import KEPT_ASIDE_SECONDS, LOOK_SECONDS, PART

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

_ASIDE = """
-- Beside each limit a hash has what is set aside for each process: 'amount ends', 'sum', of all of these,
-- and 'swept', when those that are over were last taken out.
local function held(told)
    local amount, ends = string.match(told or '', '^(%d+) (%d+)$')
    return tonumber(amount) or 0, tonumber(ends) or 0
end

local function used(key, kind, length, grain)
    if kind == 'total' then return tonumber(redis.call('GET', key)) or 0 end
    if kind == 'places' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        return redis.call('ZCARD', key)
    end
    local oldest, sum = expired(key, length, grain)
    return sum, oldest
end

local function keep(aside, process, amount, ends, others)
    redis.call('HSET', aside, process, name(amount) .. ' ' .. name(ends), 'sum', others + amount)
end

-- What all others have; what is over is looked for once a second, because there may be hundreds of them.
local function of_others(aside, process)
    local found = redis.call('HMGET', aside, 'sum', process, 'swept')
    if now - (tonumber(found[3]) or 0) < 1000 then return (tonumber(found[1]) or 0) - held(found[2]) end
    local all, others = redis.call('HGETALL', aside), 0
    for at = 1, #all, 2 do
        local amount, ends = held(all[at + 1])
        if ends > now and all[at] ~= process then
            others = others + amount
        elseif ends > 0 then
            redis.call('HDEL', aside, all[at])
        end
    end
    redis.call('HSET', aside, 'swept', name(now))
    return others
end

-- Sets aside a part of what is left, and no less than 'least'. Answers how much, and what all others have.
local function set_aside(aside, process, processes, room, least)
    local others = of_others(aside, process)
    local left, amount = room - others, 0
    if left >= processes then amount = math.max(1, math.floor(left / (PART * processes))) end
    keep(aside, process, math.max(amount, least), now + KEPT, others)
    redis.call('PEXPIRE', aside, KEPT)
    return amount, others
end
""".replace("PART", str(PART)).replace("KEPT", str(round(1000 * KEPT_ASIDE_SECONDS)))

RESERVE = (
    _WINDOW
    + _ASIDE
    + """
-- ARGV: now or 0, the request's name, the process's, how many there are; for each of KEYS one text: its kind, what is asked, the
-- most, the length, the grain.
local function until_free(key, oldest, sum, ask, most, length, grain)
    local need, last = sum + ask - most, math.floor(now / grain)
    if need <= 0 then return LOOK end
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

local rows, granted, process, processes = {}, 1, ARGV[3], tonumber(ARGV[4])
for place, key in ipairs(KEYS) do
    local kind, ask, most, length, grain = string.match(ARGV[4 + place], '(%S+) (%S+) (%S+) (%S+) (%S+)')
    local row = {
        kind = kind, ask = tonumber(ask), most = tonumber(most), length = tonumber(length), grain = tonumber(grain),
        aside = key .. ':aside', news = -1,
    }
    row.sum, row.oldest = used(key, row.kind, row.length, row.grain)
    local found = redis.call('HMGET', row.aside, 'sum', process)
    row.own, row.ends = held(found[2])
    row.others = (tonumber(found[1]) or 0) - row.own
    if row.sum + row.others + row.ask > row.most then granted = 0 end
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
    if row.ends <= now then
        row.news, row.others = set_aside(row.aside, process, processes, row.most - row.sum, 0)
    elseif granted == 1 and row.sum + row.others + row.own > row.most then
        keep(row.aside, process, math.max(0, row.most - row.sum - row.others), row.ends, row.others)
    end
    local left, wait = row.most - row.sum - row.others, 0
    if row.ask > left then
        wait = -1
        if row.kind == 'window' then
            wait = until_free(key, row.oldest, row.sum, row.ask, row.most, row.length, row.grain)
        end
    end
    for _, number in ipairs({ left, wait, bucket, row.news }) do reply[#reply + 1] = name(number) end
end
return table.concat(reply, ' ')
""".replace("LOOK", str(round(1000 * LOOK_SECONDS)))
)
"""Takes from all limits or from none. Returns a text of numbers, which costs its reader less than an array: 1 or 0, and for each limit
the amount left, the time until the amount asked for is free (0 if now, -1 if unknown), the bucket, and the amount newly set
aside for the process (-1 if unchanged)."""

SET_ASIDE = (
    _WINDOW
    + _ASIDE
    + """
-- ARGV: now or 0, the process's name, how many there are; for each of KEYS its kind, the most, the length, the grain, and what the
-- process may go by until it hears the answer.
local reply = {}
for place, key in ipairs(KEYS) do
    local at = 4 + (place - 1) * 5
    local most = tonumber(ARGV[at + 1])
    local sum = used(key, ARGV[at], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
    local aside = key .. ':aside'
    local least = math.min(held(redis.call('HGET', aside, ARGV[2])), tonumber(ARGV[at + 4]))
    local amount, others = set_aside(aside, ARGV[2], tonumber(ARGV[3]), most - sum, least)
    reply[#reply + 1] = most - sum - others
    reply[#reply + 1] = amount
end
return reply
"""
)
"""Renews a process's allowances. Returns for each limit the amount left, and the allowance."""

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
"""Changes counters by amounts, each in its bucket if that bucket still counts."""

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
"""Renews the lease of places that are taken."""

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
"""Registers a process. Returns the number of processes, an id that changes when the server loses its data, and the time."""
