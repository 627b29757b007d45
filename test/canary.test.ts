/** A secret in arguments, errors, user context, hooks and URLs reaches no log, event, metric or answer. */
import { inspect } from 'node:util';
import { expect, test, vi } from 'vitest';
import { createHttpHandler } from '../src/integrations/http/index.js';
import { prometheusMetrics } from '../src/integrations/prometheus/index.js';
import { createRecovery, memoryStorage } from '../src/index.js';
import type { Recovery, RecoveryEvent } from '../src/index.js';

const CANARY = 'cAnArY-51c9';
const URL_WITH_IT = `redis://me:${CANARY}@host/0`;
const fail = (): never => {
  throw Object.assign(new TypeError(`${CANARY} at ${URL_WITH_IT}`), { code: 'E_OWN' });
};

function define(recovery: Recovery, mends: boolean) {
  return recovery.withRecovery(
    async (ctx, id: string, secret: string) => {
      await ctx.createCheckpoint({
        name: 'begun',
        progressPercent: 96,
        recoverableData: { secret },
        databaseState: { dsn: URL_WITH_IT },
      });
      await ctx.step('keep', () => secret);
      if (id === 'held' && !mends) {
        await new Promise((_, reject) =>
          ctx.signal.addEventListener('abort', () => reject(new Error(secret))),
        );
      }
      if (id === 'bad') fail();
      return { secret };
    },
    {
      name: 'job',
      taskId: (id: string, _secret: string) => id,
      userContext: () => ({ session: CANARY }),
      document: (id) => id,
      query: () => `select ${CANARY}`,
      validate: fail,
      cleanup: fail,
    },
  );
}

test('a secret reaches no log, event, metric or answer', async () => {
  vi.stubEnv('DEBUG', 'rekindle:*');
  const storage = memoryStorage();
  const seen: unknown[] = [];
  const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => seen.push(String(text)) > 0);
  const events: RecoveryEvent[] = [];
  const write = (message: string): void => void seen.push(message);
  const options = {
    storage,
    logger: { info: write, warn: write, error: write },
    documents: { maxRetries: 0, periodic: false },
    checks: { own: fail },
  };
  const first = createRecovery(options);
  first.on('*', (event) => events.push(event));
  const job = define(first, false);
  await job('good', CANARY);
  await job('bad', CANARY).catch(() => {});
  void (await job.start('held', CANARY)).result.catch(() => {});
  await first.shutdown({ timeoutMs: 50 });

  const { checks: _, ...unchecked } = options;
  const second = createRecovery(unchecked);
  second.on('*', (event) => events.push(event));
  const metrics = prometheusMetrics(second);
  define(second, true);
  await (
    await second.runStartupRecovery()
  ).finished;
  await second.documents.recover();
  const postponed = createRecovery(options);
  postponed.on('*', (event) => events.push(event));
  await postponed.runStartupRecovery({ onUnavailable: 'continue' });

  const log = second.events();
  const durable = (await second.tasks.counts()).completed + 8;
  for await (const event of log)
    if (events.push(event) >= durable * 3 || event.event === 'dead_lettered') break;
  const handler = createHttpHandler(second, { authorize: () => true });
  const open = createHttpHandler(postponed);
  const paths = ['status', 'tasks', 'tasks/bad', 'tasks/held', 'plan', 'failures', 'failures/groups'];
  for (const path of paths) seen.push(await (await handler(new Request(`http://h/recovery/${path}`))).text());
  for (const path of ['live', 'ready', 'recovery', 'recovery/metrics', 'detailed'])
    seen.push(await (await open(new Request(`http://h/health/${path}`))).text());
  seen.push(await metrics.text(), await postponed.health(), await second.metrics());

  const kinds = new Set(events.map(({ event, details }) => `${event} ${details['kind'] ?? ''}`.trim()));
  expect([...kinds]).toEqual(
    expect.arrayContaining([
      'alert validate_failed',
      'alert cleanup_failed',
      'alert recovery_postponed',
      'dead_lettered',
      'recovery_completed',
      'task_failed',
    ]),
  );
  stderr.mockRestore();
  vi.unstubAllEnvs();
  expect(seen.some((text) => String(text).includes('rekindle:recovery'))).toBe(true);
  expect(inspect([seen, events], { depth: 20, maxStringLength: null, maxArrayLength: null })).not.toContain(
    CANARY,
  );
  await Promise.all([second.shutdown(), postponed.shutdown()]);
});
