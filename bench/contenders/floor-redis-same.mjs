// Bare ioredis that writes what rekindle writes: the same records, indexes and events, one EVALSHA each. No library around
// it: no leases, no checks, nothing shared between tasks. What is left between it and rekindle is what rekindle itself costs.
import { Redis } from 'ioredis';
import { inLanes, oneByOne, PAYLOAD } from './shared.mjs';

const EVENT = `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function event(log, name, seq)
  redis.call('XADD', log, 'MAXLEN', '~', '10000', '*', 'event', name, 'task_id', ARGV[2], 'name', 'bench', 'timestamp', now,
    'recovery', 'false', 'seq', seq, 'attempt', '1')
end
`;
const BEGIN = `if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
${EVENT}
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'status', 'processing', 'name', 'bench', 'priority', '0', 'owner', ARGV[3],
  'leaseUntil', now + 15000, 'attempt', '1', 'origin', ARGV[4], 'createdAt', now, 'eventSeq', '1', 'version', '1', 'input', ARGV[5])
redis.call('ZADD', KEYS[2], now + 15000, ARGV[2])
redis.call('ZADD', KEYS[3], 0, ARGV[2])
event(KEYS[4], 'task_started', '1')
return 1`;
const DONE = `if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
${EVENT}
redis.call('HSET', KEYS[1], 'token', ARGV[3], 'status', 'completed', 'endedAt', now, 'progress', '100', 'resultKind', 'none',
  'eventSeq', '2')
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[4], now, ARGV[2])
event(KEYS[5], 'task_completed', '2')
return 1`;
const CHECKPOINT = `if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], 'data', ARGV[2])
redis.call('HSET', KEYS[1], 'token', ARGV[3], 'progress', ARGV[4], 'progressAt', ARGV[5], ARGV[6], ARGV[7])
return 1`;

const OWNER = 'uWQD3d2w-6d1Fvf9JbK97g';
const [RUNNING, HELD, ENDED, LOG] = [
  'i:processing:bench',
  `i:held:${OWNER}`,
  'i:completed:bench',
  'events',
].map((name) => `{same:0}:${name}`);

export async function open({ port }) {
  const redis = new Redis({ host: '127.0.0.1', port });
  redis.defineCommand('sameBegin', { numberOfKeys: 4, lua: BEGIN });
  redis.defineCommand('sameDone', { numberOfKeys: 5, lua: DONE });
  redis.defineCommand('sameCheckpoint', { numberOfKeys: 2, lua: CHECKPOINT });
  let made = 0;
  const begin = async (input) => {
    const id = `${Date.now()}-${(made += 1)}`;
    const task = { id, key: `{same:0}:r:h:${id}`, fence: Date.now(), written: 0 };
    await redis.sameBegin(task.key, RUNNING, HELD, LOG, tokenOf(task), id, OWNER, String(task.fence), input);
    return task;
  };
  const checkpoint = (task, i) => {
    const expect = tokenOf(task);
    task.written += 1;
    const data = `{"seq":${task.written},"name":"step-${i % 10}","percent":${i % 100},"data":${JSON.stringify(PAYLOAD)}}`;
    const record = `{same:0}:r:c${task.written % 5}:${task.id}`;
    const field = `r:step-${i % 10}`;
    const seq = String(task.written);
    return redis.sameCheckpoint(
      task.key,
      record,
      expect,
      data,
      tokenOf(task),
      String(i % 100),
      String(Date.now()),
      field,
      seq,
    );
  };
  const done = (task) => {
    const expect = tokenOf(task);
    task.written += 1;
    return redis.sameDone(task.key, RUNNING, HELD, ENDED, LOG, expect, task.id, tokenOf(task));
  };
  return {
    tasks: (count, width, checkpoints) =>
      inLanes(count, width, async () => {
        const task = await begin(`[${checkpoints}]`);
        for (let i = 0; i < checkpoints; i += 1) await checkpoint(task, i);
        await done(task);
      }),
    async alone(count) {
      const task = await begin('[]');
      return oneByOne(count, (i) => checkpoint(task, i));
    },
  };
}

function tokenOf({ fence, written }) {
  return `${fence}.GoAlbuQQ5Aianb4oafyztA.${written}`;
}
