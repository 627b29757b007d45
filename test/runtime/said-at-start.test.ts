import { expect, it } from 'vitest';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { memoryStorage } from '../../src/storage/memory.js';

it('a worker that starts nothing still says how long tasks of its names are kept', async () => {
  const storage = memoryStorage();
  const old = createRecovery({ storage });
  await old.withRecovery(() => 1, { name: 'n', taskId: () => 't' })();
  const worker = createRecovery({ storage });
  worker.withRecovery(() => 1, { name: 'n', retentionMs: null });
  await (
    await worker.runStartupRecovery()
  ).finished;
  const cleans = createRecovery({ storage, retention: { completedMs: 0 } });
  expect(await cleans.cleanup()).toMatchObject({ completed: 0 });
  expect(await cleans.tasks.get('t')).not.toBeNull();
  await Promise.all([old.shutdown(), worker.shutdown(), cleans.shutdown()]);
});

it('a hook that keeps what no storage could keeps no task from ending', async () => {
  const attempt = (about: { keep: (text: string) => void }, run: () => Promise<unknown>): unknown => {
    about.keep('\ud800');
    return run();
  };
  const recovery = createRecovery({ storage: memoryStorage(), hooks: { attempt } });
  await expect(recovery.withRecovery(() => 1, { name: 'n', taskId: () => 't' })()).resolves.toBe(1);
  expect(await recovery.tasks.get('t')).toMatchObject({ status: 'completed', attempt: 1 });
  await recovery.shutdown();
});
