/** Processes that are started again each time one dies, with tasks that kill them among the others. */
import type { RecoveryContext } from '../../src/runtime/context.js';
import { gate, LEASE_MS } from './harness.js';
import type { Proc, ProcOptions, World } from './harness.js';

interface Series {
  /** How many processes died. */
  readonly crashes: number;
  /** The runs that began: id and attempt. */
  readonly runs: readonly string[];
  /** The last process. */
  readonly proc: Proc;
}

/**
 * Starts `ids` in one process, and lets one process after another recover what the last one left, until one lives
 * for long. Guilty ones kill their process a little after they began; the others take a little longer than that.
 */
export async function series(
  world: World,
  ids: readonly string[],
  guilty: ReadonlySet<string>,
  { maxCrashes, ...options }: Pick<ProcOptions, 'concurrency'> & { maxCrashes?: number } = {},
): Promise<Series> {
  const runs: string[] = [];
  const state = { crashes: 0, dead: gate() };
  const wait = (ms: number): Promise<void> =>
    new Promise((resolve) => void world.clock.schedule(ms, resolve));
  const start = () => {
    const proc = world.proc(options);
    const fn = async (ctx: RecoveryContext, _id: string): Promise<string> => {
      runs.push(`${ctx.taskId} ${ctx.attempt}`);
      await ctx.updateProgress(10, `step of ${ctx.taskId}`);
      await wait(guilty.has(ctx.taskId) ? 300 : 700);
      if (!guilty.has(ctx.taskId)) return ctx.taskId;
      // What was reported went out with a commit of another task, say.
      await ctx.createCheckpoint({ name: 'before', progressPercent: 20 });
      if (!proc.line.dead) state.crashes += 1;
      proc.crash();
      return new Promise<never>(() => {});
    };
    const task = proc.recovery.withRecovery(fn, {
      name: 'n',
      taskId: (id) => id,
      ...(maxCrashes === undefined ? {} : { maxCrashes }),
    });
    return { proc, task };
  };
  let { proc, task } = start();
  for (const id of ids) (await task.start(id)).result.catch(() => {});
  await world.clock.advance(1_000);
  for (let round = 0; proc.line.dead && round < 40; round += 1) {
    await world.clock.advance(LEASE_MS + 1);
    ({ proc, task } = start());
    await proc.recovery.runStartupRecovery();
    for (let ms = 0; ms < 120_000 && !proc.line.dead; ms += 500) await world.clock.advance(500);
  }
  return { crashes: state.crashes, runs, proc };
}
