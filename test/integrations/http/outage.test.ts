/** When the storage is away, a check fails, or a recovery goes on and on. */
import { describe, expect, test } from 'vitest';
import { createRecovery, memoryStorage, RecoveryError } from '../../../src/index.js';
import type { Recovery, RecoveryErrorCode, Storage } from '../../../src/index.js';
import { createHttpHandler } from '../../../src/integrations/http/index.js';
import type { HttpOptions } from '../../../src/integrations/http/index.js';
import { CANARY, filled, ORPHAN_ID, until } from './lab.js';

type Ask = (path: string, body?: unknown) => Promise<[number, unknown]>;

/** Asks, and tells status and JSON; `retries` gets what the header says of coming again. */
function asker(recovery: Recovery, options: HttpOptions = {}, retries: (string | null)[] = []): Ask {
  const handler = createHttpHandler(recovery, { authorize: () => true, ...options });
  return async (path, body) => {
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    };
    const answer = await handler(new Request(`http://a${path}`, body === undefined ? {} : init));
    retries.push(answer.headers.get('retry-after'));
    return [answer.status, await answer.json()];
  };
}

/** A storage that can go away; its errors tell a secret. */
function fragile(): { storage: Storage; down: { is: boolean } } {
  const inner = memoryStorage();
  const down = { is: false };
  const guarded =
    <A extends unknown[], R>(method: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (down.is)
        throw new RecoveryError('STORAGE_UNAVAILABLE', `redis://me:${CANARY}@host is gone`, {
          retryable: true,
        });
      return method.apply(inner, args);
    };
  const { read, commit, range, count, events } = inner;
  const storage: Storage = {
    name: inner.name,
    partitions: inner.partitions,
    read: guarded(read),
    commit: guarded(commit),
    range: guarded(range),
    count: guarded(count),
    events: guarded(events),
    close: () => inner.close(),
  };
  return { storage, down };
}

describe('an outage', () => {
  test('is live, not ready, unhealthy; admin routes say to come again', async () => {
    const { storage, down } = fragile();
    const recovery = createRecovery({ storage });
    const retries: (string | null)[] = [];
    const ask = asker(recovery, {}, retries);
    expect(await ask('/health/ready')).toMatchObject([200, { status: 'ready' }]);
    down.is = true;
    expect(await ask('/health/live')).toMatchObject([200, { status: 'live' }]);
    expect(await ask('/health/ready')).toMatchObject([503, { status: 'unavailable' }]);
    const [status, report] = await ask('/health/recovery');
    expect([status, report]).toMatchObject([
      503,
      { overall_health: 'unhealthy', recovery_queue_depth: null },
    ]);
    expect(await ask('/health/detailed')).toMatchObject([
      503,
      { status: 'unhealthy', checks: { storage: { status: 'down' }, queue: { status: 'down' } } },
    ]);
    const away = [
      '/health/recovery/metrics',
      ...['status', 'tasks', 'tasks/x', 'plan', 'failures', 'failures/groups', 'events'].map(
        (path) => `/recovery/${path}`,
      ),
    ];
    for (const path of away) {
      const [code, body] = await ask(path);
      expect([code, body], path).toMatchObject([503, { error: { code: 'STORAGE_UNAVAILABLE' } }]);
      expect(retries.at(-1)).toBe('5');
      expect(JSON.stringify(body)).not.toContain(CANARY);
    }
    for (const path of ['trigger', 'tasks/x/requeue', 'tasks/x/cancel'])
      expect(await ask(`/recovery/${path}`, {}), path).toMatchObject([
        503,
        { error: { code: 'STORAGE_UNAVAILABLE' } },
      ]);
    expect(await ask('/recovery/failures/redrive', { category: 'x' })).toMatchObject([503, {}]);
    down.is = false;
    await recovery.shutdown();
  });

  test('a failed check is told by its name, never by its message', async () => {
    const { storage } = fragile();
    const checks = {
      database: () => Promise.reject(new Error(`postgres://me:${CANARY}@db`)),
      queue: () => true,
    };
    const recovery = createRecovery({ storage, checks });
    const ask = asker(recovery, { authorize: undefined });
    const report = await ask('/health/recovery');
    expect(report).toMatchObject([503, { checks: { database: { status: 'down' } } }]);
    const detailed = await ask('/health/detailed');
    expect(detailed).toMatchObject([
      503,
      { checks: { database: { status: 'down' }, queue: { status: 'up', counts: { waiting: 0 } } } },
    ]);
    expect(JSON.stringify([report[1], detailed[1]])).not.toContain(CANARY);
    expect(await ask('/health/ready')).toMatchObject([200, {}]);
    await recovery.shutdown();
  });
});

describe('however many ask at once', () => {
  test('health and figures are read once, and afresh for who comes later', async () => {
    const all = await filled();
    const begun = { health: 0, metrics: 0 };
    let release = (): void => {};
    let gate = new Promise<void>((resolve) => (release = resolve));
    const recovery: Recovery = {
      ...all.recovery,
      health: async (options) => {
        begun.health += 1;
        await gate;
        return all.recovery.health(options);
      },
      metrics: async () => {
        begun.metrics += 1;
        await gate;
        return all.recovery.metrics();
      },
    };
    const ask = asker(recovery);
    const paths = ['/health/recovery', '/health/recovery/metrics', '/health/detailed'];
    const flood = Array.from({ length: 20 }, () => paths.map((path) => ask(path))).flat();
    await until(() => begun.health > 0 && begun.metrics > 0);
    release();
    for (const [status] of await Promise.all(flood)) expect(status).toBe(200);
    expect(begun).toEqual({ health: 1, metrics: 1 });

    await ask('/health/detailed');
    expect(begun).toEqual({ health: 2, metrics: 2 });
    // An operator sees what is so after what was done before.
    gate = new Promise<void>((resolve) => (release = resolve));
    const asked = [ask('/health/recovery'), ask('/recovery/status')];
    await until(() => begun.health === 4);
    release();
    await Promise.all(asked);
    all.release();
    await all.recovery.shutdown();
  });

  test('one that fails is asked again', async () => {
    const { storage, down } = fragile();
    const recovery = createRecovery({ storage });
    const ask = asker(recovery);
    down.is = true;
    const failed = await Promise.all([ask('/health/recovery/metrics'), ask('/health/recovery/metrics')]);
    expect(failed.map(([status]) => status)).toEqual([503, 503]);
    down.is = false;
    expect(await ask('/health/recovery/metrics')).toMatchObject([200, {}]);
    await recovery.shutdown();
  });
});

test('thresholds of the handler are in place of those of the Recovery', async () => {
  const all = await filled();
  const strict = await asker(all.recovery, { thresholds: { queue: 0 } })('/health/recovery');
  expect(strict).toMatchObject([
    200,
    { overall_health: 'degraded', reasons: [{ code: 'queue', value: 1, threshold: 0 }] },
  ]);
  expect(await asker(all.recovery)('/health/recovery')).toMatchObject([200, { overall_health: 'healthy' }]);
  all.release();
  await all.recovery.shutdown();
});

test('a trigger waits no longer than it may, tells what has begun, and the run goes on', async () => {
  const all = await filled();
  let resumed = 0;
  all.recovery.on('recovery_started', () => (resumed += 1));
  const ask = asker(all.recovery, { waitMs: 1_000 });
  // The orphan waits for its gate: the answer comes before it.
  const [status, body] = await ask('/recovery/trigger', { taskIds: [ORPHAN_ID] });
  expect(resumed).toBe(1);
  expect([status, body]).toEqual([
    202,
    {
      success: true,
      finished: false,
      recovered: 1,
      failed: 0,
      skipped: null,
      deferred: null,
      dead_lettered: null,
    },
  ]);
  const completed = new Promise((resolve) => all.recovery.on('task_completed', resolve));
  all.release();
  await completed;
  expect(await all.recovery.tasks.get(ORPHAN_ID)).toMatchObject({ status: 'completed' });
  await all.recovery.shutdown();
});

describe('errors of the library', () => {
  const codes: [RecoveryErrorCode, number][] = [
    ['INVALID_ID', 400],
    ['INVALID_VALUE', 400],
    ['TASK_NOT_FOUND', 404],
    ['WRONG_STATE', 409],
    ['CORRUPT_RECORD', 409],
    ['SHUT_DOWN', 503],
    ['LAYOUT_MISMATCH', 503],
    ['STORAGE_FULL', 503],
  ];
  test.each(codes)('%s is a %i', async (code, status) => {
    const recovery = createRecovery({ storage: memoryStorage() });
    const planRecovery = (): Promise<never> => Promise.reject(new RecoveryError(code, `said: ${code}`));
    const [found, body] = await asker({ ...recovery, planRecovery })('/recovery/plan');
    expect([found, body]).toMatchObject([status, { error: { code } }]);
    await recovery.shutdown();
  });

  test('what nobody has thought of is a 500 without a word about it', async () => {
    const recovery = createRecovery({ storage: memoryStorage() });
    for (const thrown of [new Error(CANARY), CANARY, new RecoveryError('ITEMS_FAILED', CANARY), null]) {
      const planRecovery = (): Promise<never> => Promise.reject(thrown);
      const [found, body] = await asker({ ...recovery, planRecovery })('/recovery/plan');
      expect([found, body]).toMatchObject([500, { error: { code: 'INTERNAL' } }]);
      expect(JSON.stringify(body)).not.toContain(CANARY);
    }
    await recovery.shutdown();
  });

  test('a shut-down worker recovers nothing, and says so', async () => {
    const all = await filled();
    await all.recovery.shutdown();
    const ask = asker(all.recovery);
    expect(await ask('/recovery/trigger', {})).toMatchObject([503, { error: { code: 'SHUT_DOWN' } }]);
    expect(await ask('/health/recovery')).toMatchObject([503, { overall_health: 'unhealthy' }]);
  });
});
