import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aesGcmCodec } from '../../src/domain/codec.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { alertsOf, rejectionOf, SWEEP_MS, trapUnhandledRejections, untilAborted, World } from './harness.js';
import { die, startInTime, startQuietly, swept } from './lab.js';

trapUnhandledRejections();

const keys = { old: randomBytes(32), new: randomBytes(32) };
const ROTATED = aesGcmCodec({ keys, currentKeyId: 'new' });
const BEHIND = aesGcmCodec({ keys: { old: keys.old }, currentKeyId: 'old' });

let ran = 0;

function kept(): string {
  ran += 1;
  return 'kept';
}

/** What the second attempt, after the rotation, leaves under the new key; the input is under the old one. */
const traces: Record<string, (ctx: RecoveryContext) => Promise<unknown>> = {
  'a step': (ctx) => ctx.step('s', kept),
  'a long step': (ctx) => ctx.step('s', () => kept().repeat(300)),
  'an item': (ctx) => ctx.map('m', ['a'], kept, { key: (item) => item }),
};

describe('in the middle of a rotation', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
    ran = 0;
  });
  afterEach(() => world.end());

  async function halfRotated(trace: (ctx: RecoveryContext) => Promise<unknown>) {
    const first = world.proc({ codec: BEHIND });
    const task = first.recovery.withRecovery<[], unknown>(
      async (ctx) => {
        if (ctx.attempt === 1) return untilAborted(ctx);
        const found = ctx.resumedFrom?.recoverableData ?? (await trace(ctx));
        return ctx.attempt === 2 ? untilAborted(ctx) : found;
      },
      { name: 'n', taskId: () => 't', maxCrashes: 9, maxAttempts: 3 },
    );
    await startQuietly(task);
    await die(world, first);
    const second = world.proc({ codec: ROTATED });
    await startInTime(world, task.with(second.recovery));
    await die(world, second);
    return task;
  }

  it('a worker that lacks the new key meets a checkpoint: left alone, and whoever has the key goes on', async () => {
    const task = await halfRotated((ctx) =>
      ctx.createCheckpoint({ name: 'c', progressPercent: 9, recoverableData: 'kept' }),
    );
    const behind = world.proc({ codec: BEHIND });
    expect(await world.until(rejectionOf(task.with(behind.recovery)()))).toMatchObject({
      code: 'CODEC_FAILED',
    });
    await swept(world, behind);
    await world.clock.advance(5 * SWEEP_MS);
    await expect(behind.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      attempt: 2,
      errorCount: 0,
    });
    const proper = world.proc({ codec: ROTATED });
    expect(await world.until(task.with(proper.recovery)())).toBe('kept');
  });

  it.each(Object.keys(traces))(
    'it meets %s: it gives the task back, once, and whoever has the key goes on',
    async (kind) => {
      const task = await halfRotated(traces[kind] ?? untilAborted);
      const behind = world.proc({ codec: BEHIND });
      const call = rejectionOf(task.with(behind.recovery)());
      await world.clock.advance(60_000);
      expect(await call).toMatchObject({ code: 'CODEC_FAILED' });
      expect(alertsOf(behind.heard)).toContain('codec_failed');
      await expect(swept(world, behind)).resolves.toMatchObject({ recovered: 0, skipped: 1 });
      await world.clock.advance(5 * SWEEP_MS);
      await expect(behind.recovery.tasks.get('t')).resolves.toMatchObject({
        status: 'orphaned',
        orphanCause: 'released',
        attempt: 3,
        crashes: [expect.anything(), expect.anything()],
        errorCount: 0,
      });
      expect(ran).toBe(1);
      const proper = world.proc({ codec: ROTATED });
      expect(JSON.stringify(await world.until(task.with(proper.recovery)()))).toContain('kept');
      expect(ran).toBe(1);
    },
  );
});
