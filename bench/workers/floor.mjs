// The floor of W3: bare ioredis, an index of what runs, a fence; it takes over at once and waits for no lease.
import { Redis } from 'ioredis';
import { config, done, enter, STEPS, taskIds, work } from './body.mjs';

const BEGIN = `redis.call('HSET', KEYS[1], 'fence', 1, 'seq', 0, 'at', ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[2])
return 1`;
const TAKE = `local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
return {fence, redis.call('HGET', KEYS[1], 'seq')}`;
const STEP = `if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'seq', ARGV[2], 'at', ARGV[3], 'data', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[5])
return 1`;
const END = `if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'seq', ARGV[2], 'at', ARGV[3], 'status', 'completed')
redis.call('ZREM', KEYS[2], ARGV[4])
return 1`;

const redis = new Redis({ host: '127.0.0.1', port: config.port });
for (const [name, lua] of Object.entries({ begin: BEGIN, take: TAKE, step: STEP, end: END })) {
  redis.defineCommand(`floor_${name}`, { numberOfKeys: name === 'take' ? 1 : 2, lua });
}
const index = `${config.name}:running`;
const keyOf = (id) => `${config.name}:${id}`;

async function run(id, fence, from) {
  await enter(id);
  for (let step = from; step < STEPS; step += 1) {
    const data = JSON.stringify(await work(id, step));
    const written = await redis.floor_step(keyOf(id), index, fence, step + 1, Date.now(), data, id);
    if (written !== 1) throw new Error(`${id} belongs to another.`);
  }
  await redis.floor_end(keyOf(id), index, fence, STEPS, Date.now(), id);
  done(id);
}

async function takeOver(id) {
  const [fence, seq] = await redis.floor_take(keyOf(id));
  await run(id, fence, Number(seq));
}

async function begin(id) {
  await redis.floor_begin(keyOf(id), index, Date.now(), id);
  await run(id, 1, 0);
}

if (config.restart) {
  const orphans = await redis.zrange(index, 0, -1);
  await Promise.all(orphans.map(takeOver));
} else {
  await Promise.all(taskIds.map(begin));
}
