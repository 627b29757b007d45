/** Short words for tests of tasks that go through a queue of the user's own. */
import type { Dispatcher, TaskEnvelope } from '../../src/domain/dispatch.js';
import type { Plan } from '../../src/domain/task.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import type { WrappedTask } from '../../src/runtime/with-recovery.js';
import { gate, untilAborted } from './harness.js';
import type { Gate, Proc, ProcOptions, World } from './harness.js';

export const HAND_OVER_MS = 20_000;

/** A queue that keeps what it is given. */
export interface Jobs extends Dispatcher {
  readonly jobs: TaskEnvelope[];
  readonly plans: (Plan | null)[];
}

export function jobs(extra: Partial<Dispatcher> = {}): Jobs {
  const given: TaskEnvelope[] = [];
  const plans: (Plan | null)[] = [];
  return {
    jobs: given,
    plans,
    dispatch: (envelope, plan) => {
      given.push(envelope);
      plans.push(plan);
    },
    ...extra,
  };
}

/** One process with the task "n", whose id is its argument. */
export interface Lab extends Proc {
  readonly task: WrappedTask<[string], string>;
  /** Each run of its function, as `id attempt`. */
  readonly ran: string[];
  /** Lets its runs end; without it they wait for that. */
  readonly gate: Gate;
}

type Body = (ctx: RecoveryContext, id: string) => string | Promise<string>;

export interface LabOptions extends ProcOptions {
  readonly body?: Body;
  readonly task?: Partial<TaskOptions<[string], string>>;
  /** Runs end when the gate is opened. */
  readonly waits?: boolean;
}

export function lab(world: World, { body, task: options, waits = false, ...rest }: LabOptions = {}): Lab {
  const proc = world.proc({ handOverMs: HAND_OVER_MS, ...rest });
  const ran: string[] = [];
  const ends = gate();
  const task = proc.recovery.withRecovery(
    async (ctx: RecoveryContext, id: string): Promise<string> => {
      ran.push(`${id} ${ctx.attempt}`);
      await ctx.step('first', () => 1);
      if (body !== undefined) return body(ctx, id);
      if (waits) await Promise.race([ends.passed, untilAborted(ctx)]);
      return `${id}!`;
    },
    { name: 'n', taskId: (id) => id, ...options },
  );
  return { ...proc, task, ran, gate: ends };
}

/** The envelope of a job that nobody was given, for task "t". */
export function envelope(fields: Partial<Record<keyof TaskEnvelope, unknown>> = {}): unknown {
  return { rekindle: 1, taskId: 't', name: 'n', fence: 1, kind: 'recovery', ...fields };
}

/** The first job that a queue was given. */
export function firstOf({ jobs: [job] }: Jobs): TaskEnvelope {
  if (job === undefined) throw new Error('the queue was given nothing');
  return job;
}
