/** Whose async context code runs in, with the real clock: timers belong to nobody. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import type { Recovery } from '../../src/runtime/recovery.js';
import { currentTask } from '../../src/runtime/task-context.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';
import { rejectionOf, trapUnhandledRejections } from './harness.js';

trapUnhandledRejections();

describe('systemClock', () => {
  const local = new AsyncLocalStorage<string>();

  it.each<[string, (fn: () => void) => void]>([
    ['schedule', (fn) => void systemClock.schedule(1, fn)],
    ['schedule, kept alive', (fn) => void systemClock.schedule(1, fn, true)],
    ['defer', (fn) => systemClock.defer(fn)],
  ])('%s runs outside of the context it was called in', async (_what, set) => {
    const seen = await new Promise<string | undefined>((resolve) => {
      local.run('request', () => set(() => resolve(local.getStore())));
    });
    expect(seen).toBeUndefined();
  });

  it('changes nothing for the code that called it', () => {
    local.run('request', () => {
      systemClock.schedule(1, () => {})();
      systemClock.defer(() => {});
      expect(local.getStore()).toBe('request');
    });
  });
});

describe('hooks and listeners of a task that was recovered because of another one', () => {
  const open: Recovery[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.shutdown({ timeoutMs: 500 })));
  });

  function recovery(storage: Storage): Recovery {
    const made = createRecovery({ storage, leaseMs: 300, sweepIntervalMs: 200 });
    open.push(made);
    return made;
  }

  it('see their own task or none, and no context of a caller', async () => {
    const storage = memoryStorage();
    const options = { name: 'v', taskId: (id: string) => id };
    const old = recovery(storage).withRecovery(async (ctx, _id: string) => {
      await ctx.createCheckpoint({ name: 'x', progressPercent: 99 });
      throw new Error('no');
    }, options);
    for (const id of ['v1', 'v2']) await rejectionOf(old(id));
    const now = recovery(storage);
    const local = new AsyncLocalStorage<string>();
    const seen: (readonly [string, string | undefined, string | undefined])[] = [];
    const see = (what: string): void => void seen.push([what, currentTask()?.taskId, local.getStore()]);
    now.withRecovery(
      (_ctx, _id: string) => {
        see('function');
        throw new Error('no');
      },
      {
        ...options,
        validate: () => {
          see('validate');
          return 'resume';
        },
        cleanup: () => see('cleanup'),
      },
    );
    now.on('*', ({ event, task_id: id }) => {
      if (id?.startsWith('v') === true) see(`${id} ${event}`);
    });
    const admin = now.withRecovery(
      async (_ctx, id: string) => {
        await now.tasks.requeue(id);
        // Still under way while the other one runs.
        await new Promise((resolve) => setTimeout(resolve, 100));
      },
      { name: 'admin', taskId: () => 'admin' },
    );
    await now.runStartupRecovery();
    const cleaned = () => seen.filter(([what]) => what === 'cleanup').length;
    await local.run('request', () => admin('v1'));
    await expect.poll(cleaned, { timeout: 3_000 }).toBe(1);
    await local.run('other request', () => now.tasks.requeue('v2'));
    await expect.poll(cleaned, { timeout: 3_000 }).toBe(2);
    const names = seen.map(([what]) => what);
    for (const what of ['function', 'validate', 'cleanup', 'v1 task_failed']) expect(names).toContain(what);
    for (const [what, id, request] of seen) {
      // Its own requeue is told within the one that asks for it.
      if (what.endsWith(' task_requeued')) continue;
      expect([what, id ?? 'v']).toEqual([what, expect.stringMatching(/^v/)]);
      expect([what, request]).toEqual([what, undefined]);
    }
  });
});
