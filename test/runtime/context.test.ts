import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CheckpointInput, RecoveryContext } from '../../src/runtime/context.js';
import { settled } from '../support/manual-clock.js';
import { LEASE_MS, rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('the context, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  /** Runs a body as task "t". */
  function running<R>(body: (ctx: RecoveryContext) => R | Promise<R>) {
    const proc = world.proc();
    const task = proc.recovery.withRecovery(body, { name: 'n', taskId: () => 't' });
    return { ...proc, task };
  }

  it('updateProgress asks for no commit of its own; it comes with the next one', async () => {
    const { recovery, line, task } = running(async (ctx) => {
      const before = line.commits.length;
      for (let percent = 0; percent < 50; percent += 1)
        await ctx.updateProgress(percent, `step ${percent}`, 'd');
      expect(line.commits.length).toBe(before);
      await untilAborted(ctx);
    });
    const { result } = await task.start();
    const ended = rejectionOf(result);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ progressPercent: 0 });
    await world.clock.advance(LEASE_MS / 2);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      progressPercent: 49,
      step: 'step 49',
      description: 'd',
    });
    await world.until(recovery.shutdown());
    await ended;
  });

  it('property: an automatic checkpoint whenever the progress passes a multiple of the frequency', async () => {
    const rising = fc
      .array(fc.integer({ min: 0, max: 100 }), { maxLength: 8 })
      .map((list) => list.toSorted((a, b) => a - b));
    await fc.assert(
      fc.asyncProperty(rising, fc.integer({ min: 1, max: 60 }), async (percents, every) => {
        world = new World(partitions);
        const proc = world.proc();
        const { line } = proc;
        const task = proc.recovery.withRecovery(
          async (ctx): Promise<(number | null)[]> => {
            const before = line.commits.length;
            for (const percent of percents) {
              await ctx.updateProgress(percent, `at ${percent}`);
              if (ctx.lastCheckpoint !== null)
                expect(ctx.lastCheckpoint).toMatchObject({ automatic: true, name: null });
            }
            return [line.commits.length - before, ctx.lastCheckpoint?.progressPercent ?? null];
          },
          { name: 'n', taskId: () => 't', checkpointFrequency: every },
        );
        const passed = percents.filter(
          (percent, index) => Math.floor(percent / every) > Math.floor((percents[index - 1] ?? 0) / every),
        );
        await expect(task()).resolves.toEqual([passed.length, passed.at(-1) ?? null]);
      }),
      { numRuns: 30 },
    );
  });

  it('createCheckpoint resolves when the checkpoint is durable', async () => {
    const { recovery, task } = running(async (ctx) => {
      expect([ctx.lastCheckpoint, ctx.resumedFrom, ctx.reached('a')]).toEqual([null, null, false]);
      await ctx.createCheckpoint({
        name: 'a',
        progressPercent: 30,
        stepDescription: 'd',
        recoverableData: { x: 1 },
        databaseState: [2],
      });
      expect(await recovery.checkpoints.latest('t')).toEqual(ctx.lastCheckpoint);
      expect([ctx.reached('a'), ctx.reached('b'), ctx.resumedFrom]).toEqual([true, false, null]);
      await ctx.createCheckpoint({ name: 'b', progressPercent: 40 });
      return ctx.lastCheckpoint;
    });
    await expect(task()).resolves.toMatchObject({
      name: 'b',
      seq: 2,
      recoverableData: null,
      databaseState: null,
    });
    expect((await recovery.checkpoints.list('t')).map(({ name }) => name)).toEqual(['b', 'a']);
  });

  it('a recovered run sees what it resumes from', async () => {
    const first = world.proc();
    const seen: unknown[] = [];
    const task = first.recovery.withRecovery(
      async (ctx, input: { id: number }) => {
        if (ctx.attempt > 1) {
          seen.push(
            ctx.resumedFrom,
            ctx.lastCheckpoint,
            ctx.reached('parsed'),
            ctx.reached('sent'),
            ctx.fence,
            input,
          );
          return 'resumed';
        }
        await ctx.createCheckpoint({
          name: 'parsed',
          progressPercent: 30,
          recoverableData: { rows: [1] },
          databaseState: { status: 'parsed' },
        });
        await ctx.updateProgress(60, 'sending');
        return untilAborted(ctx);
      },
      { name: 'n', taskId: (_input) => 't', checkpointFrequency: 25 },
    );
    const { result } = await task.start({ id: 7 });
    result.catch(() => {});
    await settled();
    const fence = (await first.recovery.tasks.get('t'))?.fence ?? 0;
    first.crash();
    await world.clock.advance(LEASE_MS + 1);
    await expect(world.until(task.with(world.proc().recovery)({ id: 7 }))).resolves.toBe('resumed');
    const explicit = {
      name: 'parsed',
      automatic: false,
      recoverableData: { rows: [1] },
      databaseState: { status: 'parsed' },
    };
    const last = {
      name: null,
      automatic: true,
      progressPercent: 60,
      stepDescription: 'sending',
      recoverableData: { rows: [1] },
    };
    expect(seen).toMatchObject([explicit, last, true, false, fence + 1, { id: 7 }]);
  });

  it.each<[string, unknown, string]>([
    ['an unknown part', { name: 'a', progressPercent: 1, data: 1 }, 'INVALID_VALUE'],
    ['no name', { progressPercent: 1 }, 'INVALID_ID'],
    ['a long name', { name: 'x'.repeat(257), progressPercent: 1 }, 'INVALID_ID'],
    ['a brace in the name', { name: 'a{', progressPercent: 1 }, 'INVALID_ID'],
    ['no percent', { name: 'a' }, 'INVALID_VALUE'],
    ['101 %', { name: 'a', progressPercent: 101 }, 'INVALID_VALUE'],
    ['NaN %', { name: 'a', progressPercent: Number.NaN }, 'INVALID_VALUE'],
    [
      'a long description',
      { name: 'a', progressPercent: 1, stepDescription: 'x'.repeat(1_025) },
      'INVALID_VALUE',
    ],
    ['a lone surrogate', { name: 'a', progressPercent: 1, stepDescription: '\ud800' }, 'INVALID_VALUE'],
    ['a class instance', { name: 'a', progressPercent: 1, recoverableData: { at: new Date() } }, 'NOT_JSON'],
    [
      'too much data',
      { name: 'a', progressPercent: 1, recoverableData: 'x'.repeat(60), databaseState: 'x'.repeat(60) },
      'PAYLOAD_TOO_LARGE',
    ],
    ['no object', null, 'INVALID_VALUE'],
  ])('refuses a checkpoint with %s, and the task goes on', async (_what, given, code) => {
    const proc = world.proc({ limits: { checkpointBytes: 100 } });
    const task = proc.recovery.withRecovery(
      async (ctx) => {
        const create: (checkpoint: CheckpointInput) => Promise<void> = ctx.createCheckpoint;
        expect(await rejectionOf(Reflect.apply(create, null, [given]))).toMatchObject({ code });
        expect([ctx.reached('a'), ctx.lastCheckpoint]).toEqual([false, null]);
        await ctx.createCheckpoint({ name: 'fine', progressPercent: 2 });
      },
      { name: 'n', taskId: () => 't' },
    );
    await task();
    expect((await proc.recovery.checkpoints.list('t')).map(({ name }) => name)).toEqual(['fine']);
  });

  it('bounds the number of different checkpoint names', async () => {
    const { recovery } = world.proc({ limits: { checkpointNames: 2 } });
    const task = recovery.withRecovery(
      async ({ createCheckpoint }) => {
        for (const name of ['a', 'b', 'a']) await createCheckpoint({ name, progressPercent: 1 });
        expect(await rejectionOf(createCheckpoint({ name: 'c', progressPercent: 1 }))).toMatchObject({
          code: 'LIMIT_EXCEEDED',
        });
      },
      { name: 'n' },
    );
    await task();
  });

  it.each([-1, 100.1, Number.NaN, '5', null])('refuses the progress %j', async (percent) => {
    const { task } = running(async (ctx) => rejectionOf(Reflect.apply(ctx.updateProgress, ctx, [percent])));
    expect(await rejectionOf(task().then((error) => Promise.reject(error)))).toMatchObject({
      code: 'RESULT_NOT_STORABLE',
    });
  });

  it('is closed after the end', async () => {
    const kept: RecoveryContext[] = [];
    const { task } = running((ctx) => void kept.push(ctx));
    await task();
    const [ctx] = kept;
    expect(await rejectionOf(ctx?.updateProgress(1) ?? Promise.resolve())).toMatchObject({
      code: 'CONTEXT_CLOSED',
    });
    const late = ctx?.createCheckpoint({ name: 'late', progressPercent: 1 }) ?? Promise.resolve();
    expect(await rejectionOf(late)).toMatchObject({ code: 'CONTEXT_CLOSED' });
  });
});
