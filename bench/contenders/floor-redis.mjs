// The floor on Redis: bare ioredis and one EVALSHA for begin, checkpoint and done.
import { Redis } from 'ioredis';
import { inLanes, oneByOne, PAYLOAD } from './shared.mjs';

const TOKEN = '1.nonce.0';
const BEGIN = `if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'status', 'processing', 'at', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[2], KEYS[1])
return 1`;
const DONE = `if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'status', 'completed', 'at', ARGV[2])
redis.call('ZREM', KEYS[2], KEYS[1])
redis.call('ZADD', KEYS[3], ARGV[2], KEYS[1])
return 1`;
const CHECKPOINT = `if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'seq', ARGV[2], 'at', ARGV[3], 'data', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1])
return 1`;

export async function open({ port }) {
  const redis = new Redis({ host: '127.0.0.1', port });
  redis.defineCommand('floorBegin', { numberOfKeys: 2, lua: BEGIN });
  redis.defineCommand('floorDone', { numberOfKeys: 3, lua: DONE });
  redis.defineCommand('floorCheckpoint', { numberOfKeys: 2, lua: CHECKPOINT });
  const data = JSON.stringify(PAYLOAD);
  const checkpoint = (lane, i) =>
    redis.floorCheckpoint(`floor:lane-${lane}`, 'floor:due', TOKEN, String(i), String(Date.now()), data);
  let next = 0;
  const noop = async () => {
    const key = `floor:${(next += 1)}`;
    await redis.floorBegin(key, 'floor:running', TOKEN, String(Date.now()));
    await redis.floorDone(key, 'floor:running', 'floor:completed', TOKEN, String(Date.now()));
  };
  for (let lane = 0; lane < 64; lane += 1) await redis.hset(`floor:lane-${lane}`, 'token', TOKEN);
  return {
    // With checkpoints it has no begin and no done: the floor of a checkpoint is one call.
    tasks: (count, width, checkpoints) =>
      inLanes(count, width, async (lane) => {
        if (checkpoints === 0) await noop();
        for (let i = 0; i < checkpoints; i += 1) await checkpoint(lane, i);
      }),
    alone: (count) => oneByOne(count, (i) => checkpoint(0, i)),
  };
}
