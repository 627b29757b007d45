// rekindle in W3, on Redis or on SQLite: steps in a wrapped function, and recovery at start.
import { join } from 'node:path';
import { createRecovery } from '../../dist/index.js';
import { config, done, enter, steps, TASKS, taskIds, work } from './body.mjs';

async function storage() {
  if (config.port === undefined) {
    const { sqliteStorage } = await import('../../dist/sqlite.js');
    return sqliteStorage(join(config.folder, `${config.name}.db`));
  }
  const [{ Redis }, { redisStorage }] = await Promise.all([import('ioredis'), import('../../dist/redis.js')]);
  return redisStorage(new Redis({ host: '127.0.0.1', port: config.port }));
}

const recovery = createRecovery({
  storage: await storage(),
  namespace: config.name,
  leaseMs: config.leaseMs,
  concurrency: TASKS,
});
const task = recovery.withRecovery(
  async (ctx, id) => {
    await enter(id);
    for (const step of steps) await ctx.step(`step-${step}`, () => work(id, step));
  },
  { name: 'bench', taskId: (id) => id },
);

if (config.restart) {
  recovery.on('task_completed', ({ task_id: id }) => done(id));
  await recovery.runStartupRecovery();
} else {
  await Promise.all(taskIds.map((id) => task(id)));
}
