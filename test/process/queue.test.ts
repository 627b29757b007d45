/** A Redis list as the queue, on a real server: jobs that are lost, flushed, doubled, or taken by the wrong worker. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kindOf } from '../../src/errors.js';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { deferred } from '../../src/runtime/deferred.js';
import type { Recovery } from '../../src/runtime/recovery.js';
import { redisStorage } from '../../src/storage/redis.js';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';

const LIST = 'jobs';
const HAND_OVER_MS = 400;
let server: RedisServer;
const clients: Redis[] = [];

beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  for (const client of clients) client.disconnect();
  await server.stop();
});

function client(): Redis {
  const made = new Redis(server.url);
  clients.push(made);
  return made;
}

/** What goes wrong with the first jobs of each task, in turn. */
const TROUBLES = [
  'throws',
  'is flushed',
  'comes ten times',
  'goes to a worker without the function',
] as const;

function recovery(redis: Redis, dispatch: (taskId: string, job: string) => Promise<unknown>): Recovery {
  return createRecovery({
    storage: redisStorage(redis),
    dispatch: { dispatch: (envelope) => dispatch(envelope.taskId, JSON.stringify(envelope)) },
    handOverMs: HAND_OVER_MS,
    sweepIntervalMs: 100,
    leaseMs: 1_000,
  });
}

test('whatever becomes of its job, a task comes back by itself, and never runs twice at once', async () => {
  const redis = client();
  const dispatched = new Map<string, number>();
  const put = async (taskId: string, job: string): Promise<void> => {
    const times = (dispatched.get(taskId) ?? 0) + 1;
    dispatched.set(taskId, times);
    const trouble = times === 1 ? taskId : null;
    if (trouble === 'throws') throw new Error('the queue is down');
    if (trouble === 'is flushed') {
      await redis.rpush('flushed', job);
      await redis.del('flushed');
    } else if (trouble === 'goes to a worker without the function') await redis.rpush('other', job);
    else
      for (let copy = 0; copy < (trouble === 'comes ten times' ? 10 : 1); copy += 1)
        await redis.rpush(LIST, job);
  };
  const running = new Map<string, number>();
  const runs: string[] = [];
  const wrap = (at: Recovery) =>
    at.withRecovery(
      async (ctx, id: string) => {
        const beside = (running.get(id) ?? 0) + 1;
        running.set(id, beside);
        runs.push(`${id} ${beside}`);
        await ctx.step('first', () => new Promise((resolve) => setTimeout(resolve, 20)));
        running.set(id, beside - 1);
        return `${id}!`;
      },
      { name: 'job', taskId: (id) => id },
    );
  const web = recovery(client(), put);
  const task = wrap(web);
  const workers = [recovery(client(), put), recovery(client(), put)];
  for (const each of workers) wrap(each);
  const bare = recovery(client(), put);
  const alerts: unknown[] = [];
  web.on('alert', ({ details }) => alerts.push(details['kind']));
  const ends = new Map<string, ReturnType<typeof deferred<void>>>(
    TROUBLES.map((id) => [id, deferred<void>()]),
  );
  for (const each of workers) each.on('task_completed', ({ task_id }) => ends.get(task_id ?? '')?.resolve());
  const refused: unknown[] = [];
  const consume = async (list: string, at: Recovery): Promise<void> => {
    const own = client();
    for (;;) {
      const job = (await own.blpop(list, 0).catch(() => null))?.[1];
      if (job === undefined) return;
      // At once, as a worker with slots does.
      void at.runTask(JSON.parse(job)).catch((error: unknown) => refused.push(kindOf(error)));
    }
  };
  const loops = [...workers.map((each) => consume(LIST, each)), consume('other', bare)];
  await web.runStartupRecovery();
  for (const id of TROUBLES) await task.submit(id);
  await Promise.all([...ends.values()].map(({ promise }) => promise));
  expect(runs.toSorted()).toEqual(TROUBLES.map((id) => `${id} 1`).toSorted());
  expect(alerts.filter((kind) => kind !== 'storage_settings')).toEqual(['dispatch_failed']);
  expect(refused.filter((code) => code !== 'TASK_RUNNING_ELSEWHERE')).toEqual(['NO_HANDLER']);
  expect(await web.tasks.counts('job')).toMatchObject({ completed: 4, pending: 0, orphaned: 0 });
  for (const at of [web, ...workers, bare]) await at.shutdown();
  for (const each of clients) each.disconnect();
  await Promise.all(loops);
}, 30_000);
