/** What encryption costs: checkpoints a second on Redis with `aesGcmCodec`, against the same ones without it. */
import { randomBytes } from 'node:crypto';
import { aesGcmCodec, createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { rounds, show, startRedis, throughput } from './harness.mjs';
import { runningTasks } from './redis-checkpoint.mjs';

const WIDTH = 32;
const SIZES = [
  { name: '32 B', bytes: 32, times: 1_000 },
  { name: '200 B', bytes: 200, times: 1_000 },
  { name: '10 KiB', bytes: 10_240, times: 100 },
];

async function contender(redis, namespace, options, bytes) {
  const recovery = createRecovery({ storage: redisStorage(redis.connect()), namespace, ...options });
  // As JSON text it has two quotes more.
  const tasks = await runningTasks(recovery, WIDTH, 'x'.repeat(bytes - 2));
  return {
    run: (times) => throughput(WIDTH, times, tasks.checkpoint),
    async end() {
      await tasks.end();
      await recovery.shutdown();
    },
  };
}

export async function codecCost({ quick }) {
  const codec = aesGcmCodec({ keys: { bench: randomBytes(32) }, currentKeyId: 'bench' });
  const redis = await startRedis();
  try {
    const rows = [];
    for (const { name, bytes, times } of SIZES) {
      const sealed = await contender(redis, `sealed-${bytes}`, { codec }, bytes);
      const plain = await contender(redis, `plain-${bytes}`, {}, bytes);
      const count = quick ? Math.ceil(times / 5) : times;
      const { ours, floor } = await rounds(quick ? 5 : 9, {
        ours: () => sealed.run(count),
        floor: () => plain.run(count),
      });
      rows.push({
        measure: `Redis: checkpoints/s with encryption, ${name}, ${WIDTH} at a time`,
        ours: show(ours),
        floor: show(floor),
        ratio: ours.median / floor.median,
        target: null,
        met: null,
        note: 'the floor is the same without a codec; there is no target',
      });
      await sealed.end();
      await plain.end();
    }
    return rows;
  } finally {
    await redis.stop();
  }
}
