// rekindle, on the Redis or the file that it is given.
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createRecovery } from '../../dist/index.js';
import { redisStorage } from '../../dist/redis.js';
import { sqliteStorage } from '../../dist/sqlite.js';
import { inLanes, oneByOne, PAYLOAD } from './shared.mjs';

export async function open({ port, folder }) {
  const storage =
    port === undefined
      ? sqliteStorage(join(folder, 'rekindle.db'))
      : redisStorage(new Redis({ host: '127.0.0.1', port }));
  const recovery = createRecovery({ storage, namespace: 'ours' });
  const checkpoint = (ctx, i) =>
    ctx.createCheckpoint({ name: `step-${i % 10}`, progressPercent: i % 100, recoverableData: PAYLOAD });
  const task = recovery.withRecovery(
    async (ctx, count) => {
      for (let i = 0; i < count; i += 1) await checkpoint(ctx, i);
    },
    { name: 'bench' },
  );
  let taken = [];
  const timed = recovery.withRecovery(
    async (ctx, count) => {
      taken = await oneByOne(count, (i) => checkpoint(ctx, i));
    },
    { name: 'bench-alone' },
  );
  return {
    tasks: (count, width, checkpoints) => inLanes(count, width, () => task(checkpoints)),
    async alone(count) {
      await timed(count);
      return taken;
    },
  };
}
