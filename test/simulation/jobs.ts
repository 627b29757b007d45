/** The tasks that every simulated worker registers, and what each must come to. */
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { Recovery } from '../../src/runtime/recovery.js';
import { PIECES_TOTAL, runPieces } from './pieces-job.js';
import type { WrappedTask } from '../../src/runtime/with-recovery.js';

/**
 * `document`: many checkpoints; `slow`: longer than a lease; `poison`: takes its process down each time; `pieces`:
 * steps, one of them with `verify`, a map, checkpoints, and an error on the way.
 */
export type JobKind = 'document' | 'slow' | 'poison' | 'pieces';

/** One task to be done. Its id is its name. */
export interface Job {
  readonly id: string;
  readonly kind: JobKind;
  /** Which worker calls it, again after each restart, until it has the result. */
  readonly worker: number;
  /** How long after the boot of its worker it is called, in ms. */
  readonly afterMs?: number;
}

export interface JobResult {
  readonly id: string;
  readonly total: number;
}

/** The state that a checkpoint carries. */
interface Carried {
  readonly step: number;
  readonly total: number;
}

/** What the tasks tell the world. Nothing is heard from a process that is dead. */
export interface JobHost {
  /** How long a poison runs. */
  readonly poisonMs: number;
  sleep(ms: number): Promise<void>;
  crash(): void;
  entered(ctx: RecoveryContext, step: number): Visit;
}

/** One execution of a task's function, as the world sees it. */
export interface Visit {
  /** `key`: an idempotency key, which must be the same each time. */
  effect(step: number, key?: string): void;
  /** Whether any execution has had this effect. */
  happened(step: number): boolean;
  /** What was kept of a step has been acknowledged: it must not happen again in a later execution. */
  kept(step: number): void;
  acknowledged(step: number): void;
  left(): void;
}

const STEPS = 5;
export const POISON_BUDGET = 3;
export const POISON_MS = 5;

function plus(total: number, step: number): number {
  return (total * 31 + step) % 65_521;
}

/** What a run without any fault comes to. */
export function expectedResult(job: Job): JobResult {
  if (job.kind === 'pieces') return { id: job.id, total: PIECES_TOTAL };
  let total = 0;
  for (let step = 1; step <= STEPS; step += 1) total = plus(total, step);
  return { id: job.id, total };
}

function carriedIn(value: unknown): Carried {
  if (typeof value === 'object' && value !== null && 'step' in value && 'total' in value) {
    const { step, total } = value;
    if (typeof step === 'number' && typeof total === 'number') return { step, total };
  }
  return { step: 0, total: 0 };
}

/** Does the steps that no checkpoint has yet; the third and the fourth are kept by two checkpoints at once. */
async function work(host: JobHost, ctx: RecoveryContext, id: string, stepMs: number): Promise<JobResult> {
  let { step, total } = carriedIn(ctx.resumedFrom?.recoverableData);
  const visit = host.entered(ctx, step);
  const keep = async (done: Carried): Promise<void> => {
    const progressPercent = (done.step * 90) / STEPS;
    await ctx.createCheckpoint({ name: `step-${done.step}`, progressPercent, recoverableData: done });
    visit.acknowledged(done.step);
  };
  try {
    while (step < STEPS) {
      step += 1;
      await host.sleep(stepMs);
      await ctx.updateProgress((step * 90 - 45) / STEPS, `step ${step}`);
      visit.effect(step);
      total = plus(total, step);
      const first = keep({ step, total });
      if (step === 3) {
        await Promise.race([host.sleep(1), first]);
        step += 1;
        visit.effect(step);
        total = plus(total, step);
        await Promise.all([first, keep({ step, total })]);
      } else await first;
    }
    await host.sleep(stepMs);
    return { id, total };
  } finally {
    visit.left();
  }
}

async function poison(host: JobHost, ctx: RecoveryContext, id: string): Promise<JobResult> {
  const visit = host.entered(ctx, 0);
  await host.sleep(host.poisonMs);
  host.crash();
  await host.sleep(1);
  visit.left();
  return { id, total: 0 };
}

/** The wrapped tasks of one Recovery, by kind. */
export type Tasks = Readonly<Partial<Record<JobKind, WrappedTask<[string], JobResult>>>>;

/** `pieces` only where it is wanted: each name more is a look more of every sweep, in all other scenarios too. */
export function registerTasks(recovery: Recovery, host: JobHost, withPieces: boolean): Tasks {
  const common = { taskId: (id: string) => id, ifRunning: 'join' } as const;
  const pieces = withPieces
    ? recovery.withRecovery((ctx, id: string) => runPieces(host, ctx, id), {
        ...common,
        name: 'pieces',
        maxAttempts: 3,
      })
    : null;
  return {
    ...(pieces === null ? {} : { pieces }),
    document: recovery.withRecovery((ctx, id: string) => work(host, ctx, id, 20), {
      ...common,
      name: 'document',
      priority: 2,
    }),
    slow: recovery.withRecovery((ctx, id: string) => work(host, ctx, id, 260), {
      ...common,
      name: 'slow',
      group: (id) => id.slice(-1),
      checkpointFrequency: 25,
    }),
    poison: recovery.withRecovery((ctx, id: string) => poison(host, ctx, id), {
      ...common,
      name: 'poison',
      maxCrashes: POISON_BUDGET,
    }),
  };
}
