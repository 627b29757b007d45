/** A task "t" whose process died under version 1 (or another one), and other versions of it. */
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import type { WrappedTask } from '../../src/runtime/with-recovery.js';
import { untilAborted } from './harness.js';
import type { Proc, World } from './harness.js';
import { die, startQuietly } from './lab.js';

export type VersionOptions = Pick<
  TaskOptions<[]>,
  'version' | 'migrate' | 'onVersionMismatch' | 'maxCrashes'
>;

export function define(
  { recovery }: Proc,
  options: VersionOptions,
  fn: (ctx: RecoveryContext) => unknown,
): WrappedTask<[], unknown> {
  return recovery.withRecovery<[], unknown>(fn, { name: 'n', taskId: () => 't', ...options });
}

/** It has made two checkpoints and a step, and its process has died. */
export async function leftBehind(world: World, options: VersionOptions = {}): Promise<void> {
  const old = world.proc();
  const task = define(old, options, async (ctx) => {
    await ctx.step('paid', () => 'receipt 1');
    await ctx.createCheckpoint({ name: 'one', progressPercent: 10, recoverableData: { row: 1 } });
    await ctx.createCheckpoint({
      name: 'two',
      progressPercent: 60,
      recoverableData: { row: 2 },
      databaseState: 'rows: 2',
    });
    return untilAborted(ctx);
  });
  await startQuietly(task);
  await die(world, old);
}

/** What a function finds. */
export async function looked(ctx: RecoveryContext): Promise<unknown> {
  return {
    from: ctx.resumedFrom?.name ?? null,
    data: ctx.resumedFrom?.recoverableData ?? null,
    state: ctx.resumedFrom?.databaseState ?? null,
    last: ctx.lastCheckpoint?.recoverableData ?? null,
    reached: ctx.reached('two'),
    step: await ctx.step('paid', () => 'paid again'),
  };
}
