import { describe, expect, it } from 'vitest';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import type { Logger } from '../../src/runtime/logging.js';
import { memoryStorage } from '../../src/storage/memory.js';

const SECRET = 'canary-6f1d';

function lines(): { readonly logger: Logger; readonly all: string[] } {
  const all: string[] = [];
  const take =
    (level: string) =>
    (message: string): void =>
      void all.push(`${level} ${message}`);
  return { all, logger: { info: take('info'), warn: take('warn'), error: take('error') } };
}

/** Tasks that were given back by a shutdown, then recovered with a logger; the last one fails. */
async function recovered(count: number, logger: Logger): Promise<void> {
  const storage = memoryStorage();
  const first = createRecovery({ storage });
  const held = first.withRecovery(
    (ctx, id: string) =>
      new Promise<void>((_resolve, reject) => {
        ctx.signal.addEventListener('abort', () => reject(new Error(id)));
      }),
    { name: 'import', taskId: (id) => id },
  );
  for (let n = 1; n <= count; n += 1) void (await held.start(`t${n}`)).result.catch(() => {});
  await first.shutdown({ timeoutMs: 50 });
  const second = createRecovery({ storage, logger });
  second.withRecovery(
    (_ctx, id: string) => {
      if (id === `t${count}`) throw new Error(`${SECRET} in a message`);
      return SECRET;
    },
    { name: 'import', taskId: (id: string) => id },
  );
  await (
    await second.runStartupRecovery()
  ).finished;
  await second.shutdown();
}

describe('an application log', () => {
  it('hears what was found, how far it is, what failed and how it ended', async () => {
    const { logger, all } = lines();
    await recovered(20, logger);
    expect(all[0]).toBe('info rekindle: tasks to recover: 20');
    expect(all.filter((line) => / done, /.test(line))).toHaveLength(10);
    expect(all).toContain('info rekindle: 2/20 done, 0 failed');
    expect(all).toContain('warn rekindle: task_failed attempt=2 error_name=Error task=t20 name=import');
    expect(all.at(-1)).toMatch(
      /^info rekindle: recovery ended after \d+ ms: 20 taken back, 1 of them failed, 0 given back, 0 given up, 0 deferred, 0 skipped$/,
    );
  });

  it('hears ids, numbers and codes only', async () => {
    const { logger, all } = lines();
    await recovered(3, logger);
    expect(all.length).toBeGreaterThan(3);
    expect(all.join('\n')).not.toContain(SECRET);
  });

  it('hears nothing of a start at which there is nothing to do', async () => {
    const { logger, all } = lines();
    const recovery = createRecovery({ storage: memoryStorage(), logger });
    recovery.withRecovery(() => 1, { name: 'n' });
    await (
      await recovery.runStartupRecovery()
    ).finished;
    await recovery.shutdown();
    expect(all).toEqual([]);
  });

  it('quotes an id that has blanks', async () => {
    const { logger, all } = lines();
    const recovery = createRecovery({ storage: memoryStorage(), logger, thresholds: { queue: 0 } });
    const task = recovery.withRecovery(
      () => {
        throw new Error('no');
      },
      { name: 'n', taskId: () => 'a b="c"' },
    );
    await task().catch(() => {});
    await task().catch(() => {});
    await recovery.shutdown();
    expect(all.at(-1)).toBe(
      'warn rekindle: task_failed attempt=2 error_name=Error task="a b=\\"c\\"" name=n',
    );
  });

  it('does not stop recovery by what it throws or rejects with', async () => {
    const broken: Logger = {
      info: () => Promise.reject(new Error('no log')),
      warn: () => {
        throw new Error('no log');
      },
      error: () => {},
    };
    await expect(recovered(2, broken)).resolves.toBeUndefined();
  });

  it.each([{ info: () => {} }, 'console', 5])('must be one: %j', (logger) => {
    const options = Object.assign({ storage: memoryStorage() }, { logger });
    expect(() => Reflect.apply(createRecovery, null, [options])).toThrow(/"logger" must be/);
  });
});
