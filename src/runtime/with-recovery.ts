/** From a function and its options to a wrapped task. Here the types of arguments and results meet stored JSON. */
import { RecoveryError } from '../errors.js';
import { checkId } from '../domain/ids.js';
import type { RecoveryContext } from './context.js';
import type { Recovery } from './create-recovery.js';
import type { Engine, Handler } from './engine.js';
import { budgetOf, checkTaskOptions } from './options.js';
import type { TaskOptions } from './options.js';
import type { Starter } from './starter.js';

/**
 * A task function: the context first, then the arguments that callers give. `D` is the type of its checkpoints' data;
 * it is named at the context, `ctx: RecoveryContext<{ rows: Row[] }>`, or unknown.
 */
export type TaskFunction<A extends unknown[], R, D = unknown> = (
  ctx: RecoveryContext<D>,
  ...args: A
) => R | Promise<R>;

/** Wraps a function; see `Recovery.withRecovery`. Two signatures, so that a context without a type needs none. */
export interface WithRecovery {
  <A extends unknown[], R>(fn: TaskFunction<A, R>, options: TaskOptions<A, R>): WrappedTask<A, R>;
  <A extends unknown[], R, D>(fn: TaskFunction<A, R, D>, options: TaskOptions<A, R>): WrappedTask<A, R>;
}

/** A task that was started. */
export interface StartedTask<R> {
  readonly taskId: string;
  /** What it comes to. Never an unhandled rejection. */
  readonly result: Promise<R>;
}

/** A function that survives its process. Call it like the function it wraps, without the context. */
export interface WrappedTask<A extends unknown[], R> {
  (...args: A): Promise<R>;
  readonly taskName: string;
  /** Resolves as soon as the task is durable and running. @throws as the call itself does before it runs */
  readonly start: (...args: A) => Promise<StartedTask<R>>;
  /** The same definition on another Recovery, for tests. */
  readonly with: (recovery: Pick<Recovery, 'withRecovery'>) => WrappedTask<A, R>;
}

/** Registers the function under its name. @throws `INVALID_OPTION`, `DUPLICATE_TASK_NAME` */
export function wrap<A extends unknown[], R, D>(
  engine: Engine,
  starter: Starter,
  fn: TaskFunction<A, R, D>,
  options: TaskOptions<A, R>,
): WrappedTask<A, R> {
  checkTaskOptions(options);
  if (typeof fn !== 'function')
    throw new RecoveryError('INVALID_OPTION', 'withRecovery needs a function first.');
  const { name, discover } = options;
  if (engine.handlers.has(name)) {
    throw new RecoveryError(
      'DUPLICATE_TASK_NAME',
      `A function is registered under "${name}" already; names are unique.`,
    );
  }
  const handler: Handler = {
    name,
    priority: options.priority ?? 0,
    checkpointFrequency: options.checkpointFrequency ?? null,
    ifRunning: options.ifRunning ?? null,
    recoverable: options.recovery !== 'never',
    crashBudget: budgetOf(options.maxCrashes, engine.settings),
    strategies: options.strategies ?? null,
    validate: options.validate ?? null,
    discover: discover === undefined ? null : (map, keys, args) => discover(map, keys, ...(args as A)),
    // What is stored came in through this very signature, and JSON gives back what it was given.
    invoke: (context, args) => fn(context as RecoveryContext<D>, ...(args as A)),
  };
  engine.handlers.set(name, handler);
  const start = async (...args: A): Promise<StartedTask<R>> => {
    const taskId = options.taskId === undefined ? engine.random.nonce() : options.taskId(...args);
    // An async one by mistake, which is refused: what it rejects with must not end the process.
    if (typeof taskId !== 'string') Promise.resolve<unknown>(taskId).catch(() => {});
    checkId(`The id that taskId gave for "${name}"`, taskId);
    const { result } = await starter.start(handler, taskId, args);
    return { taskId, result: result as Promise<R> };
  };
  const call = async (...args: A): Promise<R> => (await start(...args)).result;
  const elsewhere = new WeakMap<object, WrappedTask<A, R>>();
  const on = (recovery: Pick<Recovery, 'withRecovery'>): WrappedTask<A, R> => {
    let wrapped = elsewhere.get(recovery);
    if (wrapped === undefined) elsewhere.set(recovery, (wrapped = recovery.withRecovery(fn, options)));
    return wrapped;
  };
  return Object.assign(call, { taskName: name, start, with: on });
}
