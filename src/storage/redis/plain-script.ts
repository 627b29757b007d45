/** The Lua for most batches; the rules are those of the {@link COMMIT general script}. */
import { ARGUMENTS, NOW, RETURN_OUT, script } from './script.js';
import type { Script } from './script.js';

/** The reply to batches that are for {@link COMMIT} after all; nothing was done then. */
export const NOT_PLAIN = 'not plain';

/**
 * Applies batches of sets, changes of indexes and counters, and events; {@link encodePlain} describes the arguments, the
 * rules and the reply are those of {@link COMMIT}. First it looks at all guards and counters and at the type of every other
 * key; then it writes, indexes and counters first and each batch's token last. Whatever is wrong before the first write, or
 * could be, COMMIT is to say.
 */
export const PLAIN: Script = script(`${ARGUMENTS}${NOW}
local try, K, unpack = redis.pcall, KEYS, unpack or table.unpack
local first, events, m = A[1] + 0, A[2], #A - A[#A]
local stamps = {}
for i = m, #A - 1 do
  local at = A[i] + 0
  local ms = A[at]
  local stamp = stamps[ms]
  if not stamp then
    stamp = string.format('%.17g', now + ms)
    stamps[ms] = stamp
  end
  A[at] = stamp
end

local function countable(current, from, to)
  if not current then current = '0' end
  if type(current) == 'table' then return false end
  if current ~= '0' and not string.match(current, '^%-?[1-9]%d*$') then return false end
  local most = math.abs(tonumber(current))
  for i = from, to do most = most + math.abs(tonumber(A[i])) end
  return most <= 999999999999999
end

local q, k = first, 0
while q < m do
  k = k + 1
  local after = q + 3 + A[q + 1] + A[q + 1] / A[q + 2]
  if A[q] == 'HINCRBY' then
    if not countable(try('HGET', K[k], A[after]), q + 3, q + 2 + A[q + 1]) then return '${NOT_PLAIN}' end
    after = after + 1
  elseif type(try('ZCARD', K[k])) == 'table' then
    return '${NOT_PLAIN}'
  end
  q = after
end
local log = events ~= '' and K[#K]
if log and type(try('XLEN', log)) == 'table' then return '${NOT_PLAIN}' end

local out, o, states, n, all, p, records, newest = { now }, 1, {}, 0, true, 3, k, 0
while p < first do
  k, n, o = k + 1, n + 1, o + 1
  local current, status = try('HGET', K[k], 'token') or '', 1
  if type(current) == 'table' then return '${NOT_PLAIN}' end
  if current == A[p + 6] then
    status = 2
  elseif A[p + 1] ~= '' and now > tonumber(A[p + 1]) then
    status = 4
  elseif current ~= A[p + 2] then
    status = 3
  end
  out[o] = status
  if status ~= 1 then
    all = false
    if status == 3 then
      o = o + 1
      out[o] = current
    end
  end
  states[n] = status
  if status == 1 and A[p + 4] + 0 > 0 then newest = n end
  for _ = 1, A[p + 5] do
    k = k + 1
    if type(try('HLEN', K[k])) == 'table' then return '${NOT_PLAIN}' end
  end
  for _ = 1, A[p + A[p] - 1] do
    k = k + 1
    local record = try('HGETALL', K[k])
    if record.err then return '${NOT_PLAIN}' end
    if status < 3 then
      o = o + 1
      out[o] = #record > 0 and record or {}
    end
  end
  p = p + A[p]
end

local wrote = false
local function failed(reply, key)
  return wrote and { now, 6, reply.err, key } or '${NOT_PLAIN}'
end

q, k = first, 0
while q < m do
  k = k + 1
  local size, step, reply = A[q + 1], A[q + 2], nil
  local from, to = q + 3, q + 2 + size
  q = to + 1 + size / step
  if A[from - 3] == 'HINCRBY' then
    local sum, count = 0, 0
    for i = from, to do
      if states[A[to + 1 + i - from] + 0] == 1 then
        sum, count = sum + tonumber(A[i]), count + 1
      end
    end
    reply = count > 0 and try('HINCRBY', K[k], A[q], string.format('%.0f', sum))
    q = q + 1
  elseif all then
    reply = try(A[from - 3], K[k], unpack(A, from, to))
  else
    local values, count, owner = {}, 0, to
    for i = from, to, step do
      owner = owner + 1
      if states[A[owner] + 0] == 1 then
        for j = i, i + step - 1 do
          count = count + 1
          values[count] = A[j]
        end
      end
    end
    reply = count > 0 and try(A[from - 3], K[k], unpack(values, 1, count))
  end
  if type(reply) == 'table' then return failed(reply, K[k]) end
  if reply then wrote = true end
end

p, k, n = 3, records, 0
while p < first do
  k, n = k + 1, n + 1
  local guard, e = K[k], p + 5 + A[p + 3]
  if states[n] == 1 then
    local at, reply = e + 1, nil
    for i = 1, A[p + 5] do
      local to = at + A[at]
      reply = try('HSET', K[k + i], unpack(A, at + 1, to))
      if type(reply) == 'table' then return failed(reply, K[k + i]) end
      wrote, at = true, to + 1
    end
    for _ = 1, A[p + 4] do
      local to = at + A[at]
      if n == newest then
        reply = try('XADD', log, 'MAXLEN', '~', events, '*', unpack(A, at + 1, to))
      else
        reply = try('XADD', log, '*', unpack(A, at + 1, to))
      end
      if type(reply) == 'table' then return failed(reply, log) end
      wrote, at = true, to + 1
    end
    reply = try('HSET', guard, 'token', unpack(A, p + 6, e))
    if type(reply) == 'table' then return failed(reply, guard) end
    wrote = true
  end
  p, k = p + A[p], k + A[p + 5] + A[p + A[p] - 1]
end
${RETURN_OUT}`);
