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

  it.each<[string, (ctx: RecoveryContext) => Promise<unknown>]>([
    ['the step it runs', (ctx) => ctx.step('decode', () => untilAborted(ctx))],
    ['the step it has reported', (ctx) => ctx.updateProgress(10, 'decode').then(() => untilAborted(ctx))],
  ])('from the second crash on it is %s, though it dies at once', async (_what, work) => {
    for (const attempt of [1, 2]) {
      const proc = world.proc();
      const task = proc.recovery.withRecovery(work, { name: 'n', taskId: () => 't' });
      if (attempt === 1) await startQuietly(task);
      else await proc.recovery.recover();
      await die(world, proc);
    }
    const { recovery } = world.proc();
    recovery.withRecovery(work, { name: 'n', taskId: () => 't' });
    await recovery.recover();
    const { crashes = [] } = (await recovery.tasks.get('t')) ?? {};
    expect(crashes.map(({ step }) => step)).toEqual([null, 'decode']);
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
