/**
 * The Lua of the Redis adapter. It runs on Lua 5.1 (Redis) and 5.3 (the mock), so it returns only whole
 * numbers, texts and arrays of them, formats numbers itself and never decodes user data.
 *
 * TIME is read once a script: on Redis 7.0 it moves within one.
 */
import { ARGUMENTS, NOW, RETURN_OUT, script } from './script.js';
import type { Script } from './script.js';

/**
 * Applies batches; {@link encodeCommit} describes the arguments. Commands come with their arguments as they
 * are, so that nothing is copied into tables. Each batch: guard, checks, then writes. Redis does not roll a
 * script back, so a batch must not fail after its first write: every key's type is known by then, either from
 * the guard's HGET, from a check, or because the write itself is the first one. Lack of memory, a read-only
 * replica and a failing disk also show at the first write.
 *
 * Records go by UNLINK: DEL of one with 100,000 fields holds the server up for 25 ms, UNLINK for less than 0.1. Where
 * the user may not run it, DEL does.
 *
 * A reply is the time, then for each batch: 1 applied or 2 duplicate and the observed records, 3 conflict and
 * the token, 4 expired, 5 (nothing was written) or 6 (something was) with the error and the key.
 */
export const COMMIT: Script = script(`${ARGUMENTS}${NOW}
local try, K, unpack = redis.pcall, KEYS, unpack or table.unpack
for i = 2, 1 + A[1] do
  local at = tonumber(A[i])
  A[at] = string.format('%.17g', now + A[at])
end
local out, o, known = { now }, 1, {}

local function observe(k, count)
  local records = {}
  for i = 1, count do
    local record = try('HGETALL', K[k + i])
    if record.err then return nil, record.err, K[k + i] end
    records[i] = #record > 0 and record or {}
  end
  return records
end

local function number(text)
  if not text then return 0 end
  if text ~= '0' and not string.match(text, '^%-?[1-9]%d*$') then return nil end
  if #string.gsub(text, '^-', '') > 15 then return nil end
  return tonumber(text)
end

local function counters(q, k, count)
  local sums = {}
  for i = 1, count do
    local key, field = K[k + i], A[q + 2 * i - 1]
    local place = key .. '\\0' .. field
    local sum = sums[place]
    if not sum then
      local current = try('HGET', key, field)
      if type(current) == 'table' then return current.err, key end
      sum = number(current)
    end
    sum = sum and sum + A[q + 2 * i]
    if not sum or sum > 999999999999999 or sum < -999999999999999 then return 'NOTANUMBER', key end
    sums[place] = sum
  end
end

local function check(q, k, count)
  for i = 1, count do
    local key = K[k + i]
    if not known[key] then
      local size = try(A[q + i], key)
      if type(size) == 'table' then return size.err, key end
      known[key] = true
    end
  end
end

local function del(key, reply)
  return type(reply) == 'table' and try('DEL', key) or reply
end

local p, k, last = 2 + A[1], 1, #A
while p <= last do
  local guard, ops, key, stop = K[k], p + A[p + 5], k, p + A[p + 3]
  local status, records, bad, culprit = 1, nil, nil, guard
  local more = A[p + 4] == '1'
  local seen = more and tonumber(A[ops + 1]) or 0
  local current = try('HGET', guard, 'token')
  if type(current) == 'table' then
    status, bad = 5, current.err
  elseif (current or '') == A[p + 7] then
    status = 2
    records, bad, culprit = observe(k, seen)
    if bad then status = 5 end
  elseif A[p] ~= '' and now > tonumber(A[p]) then
    status = 4
  elseif (current or '') ~= A[p + 1] then
    status, bad = 3, current or ''
  else
    local wrote = false
    local q = ops + 1
    if more then
      local late, checks, sums = A[q + 1] == '1', tonumber(A[q + 2]), tonumber(A[q + 3])
      if not late then records, bad, culprit = observe(key, seen) end
      key, q = key + seen, q + 3
      if not bad then bad, culprit = check(q, key, checks) end
      key, q = key + checks, q + checks
      if not bad then bad, culprit = counters(q, key, sums) end
      key, q = key + sums, q + 2 * sums + 1
    end
    while not bad and q < stop do
      local e = q + 1 + A[q + 1]
      key = key + 1
      local reply = try(A[q], K[key], unpack(A, q + 2, e))
      if A[q] == 'UNLINK' then reply = del(K[key], reply) end
      if type(reply) == 'table' then
        bad, culprit = reply.err, K[key]
      else
        wrote, q = true, e + 1
      end
    end
    if not bad then
      local reply
      if A[p + 7] == '' then
        reply = del(guard, try('UNLINK', guard))
      else
        reply = try('HSET', guard, unpack(A, p + 6, ops))
      end
      if type(reply) == 'table' then bad, culprit = reply.err, guard end
    end
    if bad then
      status = wrote and 6 or 5
    elseif seen > 0 and not records then
      records = observe(k, seen)
    end
  end
  o = o + 1
  out[o] = status
  if status == 3 then
    o = o + 1
    out[o] = bad
  elseif bad then
    out[o + 1], out[o + 2] = bad, culprit
    o = o + 2
  elseif records then
    for i = 1, seen do out[o + i] = records[i] end
    o = o + seen
  end
  p, k = stop, k + A[p + 2]
end
${RETURN_OUT}`);

/**
 * Applies batches that only put fields: of the guard, and of one other record at the most. That is what checkpoints
 * are, and {@link COMMIT} would spend more time on finding that out than on the writes. {@link encodePuts} describes
 * the arguments; the rules and the reply are those of {@link COMMIT}.
 */
export const PUT: Script = script(`${ARGUMENTS}${NOW}
local try, K, unpack = redis.pcall, KEYS, unpack or table.unpack
local out, o, p, k, last = { now }, 1, 1, 1, #A
while p <= last do
  local guard, other, stop, e = K[k], nil, p + A[p], p + 1 + A[p + 1]
  if e < stop then
    k = k + 1
    other = K[k]
  end
  o = o + 1
  local current = try('HGET', guard, 'token')
  if current == A[p + 2] then
    local reply, culprit = 0, guard
    if other then reply, culprit = try('HSET', other, unpack(A, e + 1, stop)), other end
    local wrote = other and type(reply) ~= 'table'
    if wrote or not other then reply, culprit = try('HSET', guard, 'token', unpack(A, p + 3, e)), guard end
    if type(reply) == 'table' then
      out[o], out[o + 1], out[o + 2] = wrote and 6 or 5, reply.err, culprit
      o = o + 2
    else
      out[o] = 1
    end
  elseif current == A[p + 3] then
    out[o] = 2
  elseif type(current) == 'table' then
    out[o], out[o + 1], out[o + 2] = 5, current.err, guard
    o = o + 2
  else
    out[o], out[o + 1] = 3, current or ''
    o = o + 1
  end
  p, k = stop + 1, k + 1
end
${RETURN_OUT}`);

/** KEYS: records. ARGV: the fields, or none for all. Returns the time, then a record each: pairs, or values. */
export const READ: Script = script(`${NOW}
local out, o, unpack = { now }, 1 + #KEYS, unpack or table.unpack
for i = 1, #KEYS do
  if #ARGV > 0 then
    out[i + 1] = redis.call('HMGET', KEYS[i], unpack(ARGV))
  else
    local record = redis.call('HGETALL', KEYS[i])
    out[i + 1] = #record > 0 and record or {}
  end
end
${RETURN_OUT}`);

/** A bound is a score, or 'n' and ms from now. The positions of all entries between two scores. */
const BOUNDS = `local key = KEYS[1]
local function bound(text)
  if string.sub(text, 1, 1) ~= 'n' then return text end
  return string.format('%.17g', now + string.sub(text, 2))
end
local from, to = bound(ARGV[1]), bound(ARGV[2])
`;

/** ARGV: from, to. */
export const COUNT: Script = script(`${NOW}${BOUNDS}
return redis.call('ZCOUNT', key, from, to)`);

/**
 * ARGV: from, to, limit, '1' for reverse, then the score and the id to continue behind. Works on positions, so
 * that the cursor's member may be gone. Lua compares texts by the server's locale: ids are compared by bytes.
 */
export const RANGE: Script = script(`${NOW}${BOUNDS}
local limit, reverse, score, id = tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5], ARGV[6]
local low = from == '-inf' and 0 or redis.call('ZCOUNT', key, '-inf', '(' .. from)
local high = redis.call('ZCOUNT', key, '-inf', to)

local function before(a, b)
  local n = math.min(#a, #b)
  for i = 1, n do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

if score then
  local first = redis.call('ZCOUNT', key, '-inf', '(' .. score)
  local past = first + redis.call('ZCOUNT', key, score, score)
  while first < past do
    local middle = math.floor((first + past) / 2)
    local member = redis.call('ZRANGE', key, string.format('%d', middle), string.format('%d', middle))[1]
    if before(member, id) or (member == id and not reverse) then first = middle + 1 else past = middle end
  end
  if reverse then high = math.min(high, first) else low = math.max(low, first) end
end
if reverse then low = math.max(low, high - limit) else high = math.min(high, low + limit) end
local entries = {}
if low < high then
  entries = redis.call('ZRANGE', key, string.format('%d', low), string.format('%d', high - 1), 'WITHSCORES')
end
return { now, entries }`);

/** ARGV: limit, cursor (absent: from the oldest). Returns whether the cursor's event is gone, and the events. */
export const EVENTS: Script = script(`local key, limit, cursor = KEYS[1], ARGV[1], ARGV[2]
local gone, start = 0, '-'
if cursor then
  if #redis.call('XRANGE', key, cursor, cursor) == 0 then gone = 1 else start = '(' .. cursor end
end
return { gone, redis.call('XRANGE', key, start, '+', 'COUNT', limit) }`);
