/** One durable checkpoint on Redis, against one bare EVALSHA that does the same. */
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { countCommands, latency, rounds, row, show, startRedis, throughput } from './harness.mjs';

const WIDTH = 32;
const PAYLOAD = 'x'.repeat(198);

/** The floor: the fence, three fields and an index entry. */
const FLOOR = `if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'seq', ARGV[2], 'at', ARGV[3], 'data', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1])
return 1`;

async function floor(redis) {
  const client = redis.connect();
  client.defineCommand('floorCheckpoint', { numberOfKeys: 2, lua: FLOOR });
  for (let lane = 0; lane < WIDTH; lane += 1) await client.hset(`floor:${lane}`, 'token', '1.nonce.0');
  const data = JSON.stringify(PAYLOAD);
  return (lane, i) =>
    client.floorCheckpoint(`floor:${lane}`, 'floor:due', '1.nonce.0', String(i), String(Date.now()), data);
}

/** Tasks that run and wait; their contexts make the checkpoints. */
export async function runningTasks(recovery, count, payload = PAYLOAD) {
  const contexts = [];
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  const task = recovery.withRecovery(
    async (ctx) => {
      contexts.push(ctx);
      await ended;
    },
    { name: 'bench' },
  );
  const started = await Promise.all(Array.from({ length: count }, () => task.start()));
  return {
    checkpoint: (lane, i) =>
      contexts[lane].createCheckpoint({
        name: `step-${i % 10}`,
        progressPercent: i % 100,
        recoverableData: payload,
      }),
    async end() {
      end();
      await Promise.all(started.map(({ result }) => result));
    },
  };
}

async function countTrips(client, times, work) {
  await work(0);
  const counter = countCommands(client);
  for (let i = 1; i <= times; i += 1) await work(i);
  counter.stop();
  return counter;
}

export async function redisCheckpoint({ quick }) {
  const redis = await startRedis();
  try {
    const client = redis.connect();
    const recovery = createRecovery({ storage: redisStorage(client) });
    const tasks = await runningTasks(recovery, WIDTH);
    const bare = await floor(redis);
    const times = quick ? 200 : 1_000;
    const alone = await rounds(quick ? 5 : 9, {
      ours: () => latency(2 * times, (i) => tasks.checkpoint(0, i)),
      floor: () => latency(2 * times, (i) => bare(0, i)),
    });
    const many = await rounds(quick ? 5 : 15, {
      ours: () => throughput(WIDTH, times, tasks.checkpoint),
      floor: () => throughput(WIDTH, times, bare),
    });
    const trips = await countTrips(client, 200, (i) => tasks.checkpoint(0, i));
    const empty = recovery.withRecovery(async () => {}, { name: 'empty' });
    const ends = await countTrips(client, 200, () => empty());
    const counter = countCommands(client);
    await throughput(WIDTH, 50, tasks.checkpoint);
    counter.stop();
    await tasks.end();
    await recovery.shutdown();
    return [
      row('Redis: calls a checkpoint', trips.text(), '200 checkpoints', trips.total / 200, { most: 1 }),
      row('Redis: calls an empty task', ends.text(), '200 tasks', ends.total / 200, { most: 2 }),
      row(
        'Redis: ms a checkpoint, one at a time',
        show(alone.ours, 3),
        show(alone.floor, 3),
        alone.ours.median / alone.floor.median,
        { most: 1.3 },
      ),
      row(
        `Redis: checkpoints/s, ${WIDTH} at a time`,
        show(many.ours),
        show(many.floor),
        many.ours.median / many.floor.median,
        { least: 0.7 },
      ),
      row(
        `Redis: calls a checkpoint, ${WIDTH} at a time`,
        counter.text(),
        `${WIDTH * 50} checkpoints`,
        counter.total / (WIDTH * 50),
        { most: 1 },
      ),
    ];
  } finally {
    await redis.stop();
  }
}
