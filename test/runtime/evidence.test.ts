import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { settled } from '../support/manual-clock.js';
import { LEASE_MS, rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';
import { die, startQuietly } from './lab.js';

trapUnhandledRejections();

describe('what is known of a task that crashes', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  const runs = (ctx: RecoveryContext): Promise<unknown> => ctx.step('decode', () => untilAborted(ctx));
  const reports = (ctx: RecoveryContext): Promise<unknown> =>
    ctx.updateProgress(10, 'decode').then(() => untilAborted(ctx));

  it.each<[string, number, (ctx: RecoveryContext) => Promise<unknown>]>([
    ['the step it runs', 2, runs],
    ['the step it has reported', 2, reports],
    ['the step it runs', 3, runs],
    ['the step it has reported', 3, reports],
  ])('is %s at its last crash, of %i, though it dies at once', async (_what, maxCrashes, work) => {
    const began: number[] = [];
    const define = () => {
      const proc = world.proc({ maxCrashes });
      const options = { name: 'n', taskId: () => 't' };
      const task = proc.recovery.withRecovery((ctx) => {
        began.push(ctx.attempt);
        return work(ctx);
      }, options);
      return { proc, task };
    };
    for (let attempt = 1; attempt <= maxCrashes; attempt += 1) {
      const { proc, task } = define();
      if (attempt === 1) await startQuietly(task);
      else await proc.recovery.runStartupRecovery();
      // A suspect waits for its turn first.
      while (began.length < attempt) await world.clock.advance(1_000);
      await die(world, proc);
    }
    const { recovery } = define().proc;
    await recovery.recover();
    const { crashes = [], status } = (await recovery.tasks.get('t')) ?? {};
    expect(status).toBe('dead_letter');
    expect(crashes.map(({ step }) => step)).toEqual(
      maxCrashes === 2 ? [null, 'decode'] : [null, null, 'decode'],
    );
  });

  it.each<[string, (ctx: RecoveryContext) => Promise<unknown>]>([
    ['step', (ctx) => ctx.step('s', () => 1)],
    ['map', (ctx) => ctx.map('m', [1], () => 1, { key: String })],
  ])('a %s that nobody waits for breaks nothing when it is refused', async (_what, call) => {
    const { recovery } = world.proc();
    const late: RecoveryContext[] = [];
    await recovery.withRecovery((ctx) => void late.push(ctx), { name: 'n' })();
    const [ctx] = late;
    if (ctx === undefined) throw new Error('it did not run');
    // What `trapUnhandledRejections` would see.
    void call(ctx);
    await settled();
    await world.clock.advance(LEASE_MS);
    expect(await rejectionOf(call(ctx))).toMatchObject({
      code: 'CONTEXT_CLOSED',
    });
  });
});
