import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { PRIORITY_BAND, priorityBase } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { die, startQuietly, swept } from './lab.js';
import { firstOf, HAND_OVER_MS, jobs, lab } from './queue-lab.js';
import type { Lab } from './queue-lab.js';

let world: World;
trapUnhandledRejections();
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

const run = (at: Lab, job: unknown): Promise<unknown> => world.until(at.recovery.runTask(job));

describe('submit', () => {
  it('needs a queue, and writes nothing without one', async () => {
    const at = lab(world);
    expect(await rejectionOf(at.task.submit('t'))).toMatchObject({ code: 'INVALID_OPTION' });
    expect(at.line.commits).toEqual([]);
    expect(
      await rejectionOf(lab(world, { dispatch: jobs(), task: { dispatch: null } }).task.submit('t')),
    ).toMatchObject({ code: 'INVALID_OPTION' });
  });

  it.each(['isActive', 'describe'])('a queue whose %s is no function is refused', (member) => {
    const dispatch = { dispatch: () => {}, [member]: 1 };
    expect(() => lab(world, { dispatch })).toThrow(member);
    expect(() => lab(world, { task: { dispatch } })).toThrow(member);
  });

  it('makes the task durable before the queue hears of it', async () => {
    const seen: unknown[] = [];
    const at: Lab = lab(world, {
      dispatch: {
        dispatch: async (job, plan) => void seen.push(job, plan, await at.recovery.tasks.get('t')),
      },
    });
    expect(await at.task.submit('t')).toEqual({ taskId: 't' });
    expect(seen).toMatchObject([
      { rekindle: 1, taskId: 't', name: 'n', kind: 'new' },
      null,
      { status: 'pending', attempt: 0, owner: null },
    ]);
    const waitingMs = (await at.recovery.tasks.get('t'))?.dueAtMs ?? 0;
    expect(waitingMs - world.clock.wallMs()).toBe(HAND_OVER_MS);
  });

  it('of a task of its own queue goes there', async () => {
    const [all, own] = [jobs(), jobs()];
    const at = lab(world, { dispatch: all, task: { dispatch: own } });
    await at.task.submit('t');
    expect([all.jobs.length, own.jobs.length]).toEqual([0, 1]);
  });

  it('of a task that nobody has begun gives it to the queue again, as the same job', async () => {
    let away = true;
    const queue = jobs();
    const at = lab(world, {
      dispatch: {
        dispatch: (job, plan) => {
          if (away) throw new Error('away');
          return queue.dispatch(job, plan);
        },
      },
    });
    await at.task.submit('t');
    const before = await at.recovery.tasks.get('t');
    away = false;
    expect(await at.task.submit('t')).toEqual({ taskId: 't' });
    await lab(world, { dispatch: queue }).task.submit('t');
    expect(await at.recovery.tasks.get('t')).toEqual(before);
    expect(queue.jobs).toEqual([firstOf(queue), firstOf(queue)]);
    expect(firstOf(queue)).toMatchObject({ taskId: 't', kind: 'new', fence: before?.fence });
    expect(await run(lab(world), firstOf(queue))).toBe('t!');
    expect(await run(lab(world), queue.jobs[1])).toBe('t!');
    expect(await at.recovery.tasks.get('t')).toMatchObject({ status: 'completed', attempt: 1 });
  });

  it('of a task that was taken back from the queue leaves it to its hand-over', async () => {
    const queue = jobs();
    const at = lab(world, { dispatch: queue });
    await at.task.submit('t');
    await world.clock.advance(HAND_OVER_MS + 1);
    await swept(world, at);
    const made = queue.jobs.length;
    expect(made).toBeGreaterThan(1);
    await at.task.submit('t');
    expect(queue.jobs.length).toBe(made);
  });

  it.each(['processing', 'orphaned', 'completed', 'failed', 'cancelled'])(
    'leaves a task alone that is %s',
    async (status) => {
      const queue = jobs();
      const at = lab(world, {
        dispatch: queue,
        waits: status === 'processing' || status === 'orphaned',
        ...(status === 'failed' ? { body: () => Promise.reject(new Error('no')) } : {}),
      });
      if (status === 'cancelled') await at.task.submit('t');
      else await startQuietly(at.task, 't');
      if (status === 'cancelled') await at.recovery.tasks.cancel('t');
      if (status === 'orphaned') await world.until(at.recovery.shutdown({ timeoutMs: 10 }));
      const other = lab(world, { dispatch: queue });
      const before = await other.recovery.tasks.get('t');
      expect(before?.status).toBe(status);
      const made = queue.jobs.length;
      expect(await other.task.submit('t')).toEqual({ taskId: 't' });
      expect(await other.recovery.tasks.get('t')).toEqual(before);
      expect(queue.jobs.length).toBe(made);
      at.gate.open();
    },
  );

  it('leaves a dead letter alone', async () => {
    const at = lab(world, { waits: true });
    await startQuietly(at.task, 't');
    await die(world, at);
    const queue = jobs();
    const other = lab(world, { maxCrashes: 1, dispatch: queue });
    await swept(world, other);
    await other.task.submit('t');
    expect(await other.recovery.tasks.get('t')).toMatchObject({ status: 'dead_letter' });
    expect(queue.jobs).toEqual([]);
  });

  it('refuses other arguments, and another name, under the same id', async () => {
    const at = lab(world, { dispatch: jobs() });
    const same = (name: string) =>
      at.recovery.withRecovery((_ctx, value: number) => value, { name, taskId: () => 't' });
    const [one, two] = [same('one'), same('two')];
    await one.submit(1);
    expect(await rejectionOf(one.submit(2))).toMatchObject({ code: 'INPUT_MISMATCH' });
    expect(await rejectionOf(two.submit(1))).toMatchObject({ code: 'INPUT_MISMATCH' });
  });

  it('stores the raw input, and gives the parsed one to the function, at the other end too', async () => {
    const queue = jobs();
    const input = z.object({ n: z.string().transform(Number) });
    const got: unknown[] = [];
    const wrap = (at: Lab) =>
      at.recovery.withRecovery((_ctx, given) => void got.push(given.n), { name: 'parsed', input });
    const [web, worker] = [lab(world, { dispatch: queue }), lab(world)];
    wrap(worker);
    const task = wrap(web);
    await task.submit({ n: '7' });
    await run(worker, firstOf(queue));
    expect(got).toEqual([7]);
    // @ts-expect-error: what the schema refuses
    expect(await rejectionOf(task.submit({ n: 7 }))).toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('fails a task whose stored input the schema of the worker refuses', async () => {
    const queue = jobs();
    const wrap = (at: Lab, input: z.ZodType<string, string>) =>
      at.recovery.withRecovery((_ctx, given) => given, { name: 'parsed', input });
    const [web, worker] = [lab(world, { dispatch: queue }), lab(world)];
    wrap(worker, z.string().max(1));
    const { taskId } = await wrap(web, z.string()).submit('long');
    expect(await rejectionOf(run(worker, firstOf(queue)))).toMatchObject({ code: 'INPUT_INVALID' });
    expect(await worker.recovery.tasks.get(taskId)).toMatchObject({ status: 'failed', attempt: 1 });
  });

  it('carries the context of the caller, and both through a codec', async () => {
    const queue = jobs();
    const codec = {
      encode: (text: string) => Buffer.from(text).toString('hex'),
      decode: (text: string) => Buffer.from(text, 'hex').toString(),
    };
    const seen: unknown[] = [];
    const options = { codec, task: { userContext: (id: string) => ({ tenant: `of ${id}` }) } } as const;
    const web = lab(world, { ...options, dispatch: queue });
    const worker = lab(world, {
      ...options,
      body: (ctx, id) => {
        seen.push(ctx.userContext);
        return id;
      },
    });
    await web.task.submit('t');
    expect(JSON.stringify(web.line.commits)).not.toContain('of t');
    expect(await run(worker, firstOf(queue))).toBe('t');
    expect(seen).toEqual([{ tenant: 'of t' }]);
    const keyless = lab(world, {
      codec: {
        ...codec,
        decode: (): string => {
          throw new Error('no key');
        },
      },
    });
    await web.task.submit('u');
    expect(await rejectionOf(run(keyless, queue.jobs[1]))).toMatchObject({ code: 'CODEC_FAILED' });
    expect(await web.recovery.tasks.get('u')).toMatchObject({ status: 'pending' });
  });

  it('keeps the priority that it was submitted with, whatever the worker has', async () => {
    const queue = jobs();
    const web = lab(world, { dispatch: queue, task: { priority: 7 } });
    await web.task.submit('t');
    const worker = lab(world, { waits: true });
    const running = worker.recovery.runTask(firstOf(queue));
    running.catch(() => {});
    await settled();
    await world.until(worker.recovery.shutdown({ timeoutMs: 10 }));
    expect(await web.recovery.tasks.get('t')).toMatchObject({ status: 'orphaned', priority: 7 });
    const { entries } = await world.memory.range('rekindle:0', 'orphaned:n', { limit: 10 });
    // The band of its record's priority, not of the worker's.
    expect(Math.floor((entries[0]?.score ?? 0) / PRIORITY_BAND)).toBe(
      Math.floor(priorityBase(7) / PRIORITY_BAND),
    );
  });

  it('is refused in a shutdown, and when the storage is away', async () => {
    const queue = jobs();
    const at = lab(world, { dispatch: queue });
    await world.until(at.recovery.shutdown());
    expect(await rejectionOf(at.task.submit('t'))).toMatchObject({ code: 'SHUT_DOWN' });
    expect(queue.jobs).toEqual([]);
  });
});
