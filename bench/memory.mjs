/** What tasks and checkpoints take of a Redis server's memory, against what their authors gave. */
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { startRedis } from './harness.mjs';
import { runningTasks } from './redis-checkpoint.mjs';

const TASKS = 2_000;
const PAYLOAD = 'x'.repeat(198);
const INPUT = 'y'.repeat(98);

async function usedBytes(client) {
  // Buffers of this very connection aside.
  const text = await client.info('memory');
  return Number(/used_memory_dataset:(\d+)/.exec(text)?.[1]);
}

/** Bytes a task that `work` adds to the dataset. */
async function grown(client, count, work) {
  const before = await usedBytes(client);
  await work();
  return ((await usedBytes(client)) - before) / count;
}

function line(what, bytes, payloadBytes) {
  return {
    measure: `memory in Redis: ${what}`,
    ours: `${Math.round(bytes)} B`,
    floor: `${payloadBytes} B`,
    ratio: bytes / Math.max(1, payloadBytes),
    target: null,
    met: true,
    note: 'the floor is the JSON text that its author gave',
  };
}

async function taskCosts(client, recovery) {
  const task = recovery.withRecovery(async (_ctx, _text) => PAYLOAD, { name: 'memory' });
  // The first ones bring indexes, counters and the log of events to their size: 10,000 events are kept.
  const all = (count) => () => Promise.all(Array.from({ length: count }, () => task(INPUT)));
  for (let i = 0; i < 6; i += 1) await all(1_000)();
  return grown(client, TASKS, all(TASKS));
}

async function checkpointCosts(client, recovery) {
  const tasks = await runningTasks(recovery, TASKS, PAYLOAD);
  const each = (step) =>
    Promise.all(Array.from({ length: TASKS }, (_, lane) => tasks.checkpoint(lane, step)));
  await each(0);
  const second = await grown(client, TASKS, () => each(1));
  for (let step = 2; step < 6; step += 1) await each(step);
  const beyond = await grown(client, TASKS, () => each(6));
  await tasks.end();
  return { second, beyond };
}

export async function memory() {
  const redis = await startRedis(['--appendonly', 'no']);
  try {
    const client = redis.connect();
    const recovery = createRecovery({ storage: redisStorage(client), namespace: 'memory' });
    const ended = await taskCosts(client, recovery);
    const { second, beyond } = await checkpointCosts(client, recovery);
    await recovery.shutdown();
    return [
      line('a task that has ended, input of 100 B and result of 200 B', ended, 300),
      line('a checkpoint of 200 B, while up to 5 are kept', second, 200),
      line('a checkpoint of 200 B more than are kept', beyond, 200),
    ];
  } finally {
    await redis.stop();
  }
}
