import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PayloadCodec } from '../../src/domain/codec.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { MAX_VALUE_BYTES } from '../../src/storage/storage.js';
import { alertsOf, trapUnhandledRejections, World } from './harness.js';
import { watched } from './lab.js';
import { minutes } from './suspect-lab.js';

trapUnhandledRejections();

/** Makes three of one. */
const codec: PayloadCodec = {
  encode: (text) => text.repeat(3),
  decode: (text) => text.slice(0, text.length / 3),
};
const BYTES = 2 * 1024 * 1024;
const limits = { resultBytes: BYTES, inputBytes: BYTES, checkpointBytes: BYTES };
/** Within every limit of the library, and beyond the storage's once it is encoded. */
const big = 'x'.repeat(BYTES - 1_000);

describe('what a codec makes larger than the storage takes', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  /** A task with its runs, in a process that looks for tasks to take back. */
  async function running(fn: (ctx: RecoveryContext) => unknown) {
    const { recovery, heard } = world.proc({ codec, limits });
    const runs: number[] = [];
    const task = recovery.withRecovery(
      (ctx) => {
        runs.push(ctx.attempt);
        return fn(ctx);
      },
      { name: 'n', taskId: () => 't' },
    );
    await world.until(recovery.runStartupRecovery());
    const call = watched(task());
    await minutes(world, 5);
    return { recovery, heard, runs, call, task: await recovery.tasks.get('t') };
  }

  it('a result: the caller hears, and the task does not run again', async () => {
    const { runs, call, task } = await running(() => big);
    expect(runs).toEqual([1]);
    expect(call).toMatchObject({ state: 'rejected', value: { code: 'RESULT_NOT_STORABLE' } });
    // Its work is done, only its result can't be kept.
    expect(task).toMatchObject({ status: 'completed', error: null });
  });

  it('the result of a step: the same', async () => {
    let steps = 0;
    const { runs, call, task } = await running((ctx) =>
      ctx.step('s', () => {
        steps += 1;
        return big;
      }),
    );
    expect([runs, steps]).toEqual([[1], 1]);
    expect(call).toMatchObject({ state: 'rejected', value: { code: 'STEP_RESULT_NOT_STORABLE' } });
    expect(task).toMatchObject({ status: 'failed', error: { code: 'STEP_RESULT_NOT_STORABLE' } });
  });

  it('a checkpoint: it is refused, and the task goes on', async () => {
    const { runs, call, task, heard } = await running(async (ctx) => {
      const refused: unknown = await ctx
        .createCheckpoint({ name: 'c', progressPercent: 5, recoverableData: big })
        .catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', details: { bytes: expect.any(Number) } });
      await ctx.createCheckpoint({ name: 'd', progressPercent: 6, recoverableData: 'small' });
      return 'done';
    });
    expect([runs, call]).toMatchObject([[1], { state: 'resolved', value: 'done' }]);
    expect(task).toMatchObject({ status: 'completed' });
    expect(alertsOf(heard)).toEqual([]);
  });

  it('the input: nothing is begun', async () => {
    const { recovery } = world.proc({ codec, limits });
    const task = recovery.withRecovery((_ctx, text: string) => text.length, {
      name: 'n',
      taskId: () => 't',
    });
    await expect(world.until(task(big))).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    await expect(recovery.tasks.get('t')).resolves.toBeNull();
    await expect(world.until(task('small'))).resolves.toBe(5);
  });

  it('what still fits is kept', async () => {
    const fits = 'x'.repeat(Math.floor((MAX_VALUE_BYTES - 70 * 1024) / 3));
    const { call, task } = await running(() => fits);
    expect(task).toMatchObject({ status: 'completed' });
    expect(call.value === fits).toBe(true);
  });
});
