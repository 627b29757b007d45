/** From a function and its options to a wrapped task. Here the types of arguments and results meet stored JSON. */
import { RecoveryError } from '../errors.js';
import { isObject } from '../domain/check-options.js';
import { checkId } from '../domain/ids.js';
import type { SchemaInput, SchemaOutput, StandardSchema } from '../domain/schema.js';
import { FIRST_VERSION } from '../state/head.js';
import type { RecoveryContext } from './context.js';
import type { Recovery } from './recovery.js';
import type { Engine, Handler } from './engine.js';
import { parsed } from './execution.js';
import { budgetOf } from './options.js';
import type { CallInput, Starter } from './starter.js';
import { runIn } from './task-context.js';
import { checkTaskOptions } from './task-options.js';
import type { SchemaTaskOptions, TaskOptions } from './task-options.js';

/**
 * A task function: the context first, then the arguments that callers give. `D` is the type of its checkpoints' data;
 * it is named at the context, `ctx: RecoveryContext<{ rows: Row[] }>`, or unknown.
 */
export type TaskFunction<A extends unknown[], R, D = unknown> = (
  ctx: RecoveryContext<D>,
  ...args: A
) => R | Promise<R>;

/**
 * Wraps a function; see `Recovery.withRecovery`. Several signatures, so that a context without a type needs none, and
 * an `input` schema gives the argument its type.
 */
export interface WithRecovery {
  <S extends StandardSchema, R, D = unknown>(
    fn: (ctx: RecoveryContext<D>, input: SchemaOutput<S>) => R | Promise<R>,
    options: SchemaTaskOptions<S, R>,
  ): WrappedTask<[input: SchemaInput<S>], R>;
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
  /**
   * Resolves as soon as the task is durable and running here, or has ended; with `ifRunning: 'join'` and a task that
   * runs elsewhere, when that has ended. @throws as the call itself does before it runs
   */
  readonly start: (...args: A) => Promise<StartedTask<R>>;
  /**
   * Makes the task and puts it into the queue (`dispatch`), without running it here; a task that is lost in the queue is
   * found and recovered. Resolves once it is durable and the queue was asked. A task of that id that nobody has begun is
   * given to the queue once more, under the same `fence`; any other is left alone, whatever its state: one that has failed
   * is tried again by a call, or with `tasks.requeue`.
   * @throws `INVALID_OPTION` without a queue; `INVALID_ID`, `NOT_JSON`, `PAYLOAD_TOO_LARGE`, `INPUT_MISMATCH`,
   *   `SHUT_DOWN`, `STORAGE_UNAVAILABLE`
   */
  readonly submit: (...args: A) => Promise<{ readonly taskId: string }>;
  /** The same definition on another Recovery, for tests. */
  readonly with: (recovery: Pick<Recovery, 'withRecovery'>) => WrappedTask<A, R>;
}

/** Options as the runtime sees them: with a schema or without one. */
export type AnyTaskOptions<A extends unknown[], R> = Omit<TaskOptions<A, R>, 'input'> & {
  readonly input?: StandardSchema | undefined;
};

/** Registers the function under its name. @throws `INVALID_OPTION`, `DUPLICATE_TASK_NAME` */
export function wrap<A extends unknown[], R, D>(
  engine: Engine,
  starter: Starter,
  fn: TaskFunction<A, R, D>,
  options: AnyTaskOptions<A, R>,
): WrappedTask<A, R> {
  checkTaskOptions(options);
  if (typeof fn !== 'function')
    throw new RecoveryError('INVALID_OPTION', 'withRecovery needs a function first.');
  const { name } = options;
  if (engine.handlers.has(name)) {
    throw new RecoveryError(
      'DUPLICATE_TASK_NAME',
      `A function is registered under "${name}" already; names are unique.`,
    );
  }
  const handler = handlerOf(engine, fn, options);
  engine.handlers.set(name, handler);
  // What no schema looks at is not waited for: every call of every task comes by here.
  const prepared = (args: A, given: readonly unknown[]): { taskId: string; input: CallInput } => {
    const taskId = options.taskId === undefined ? newTaskId(engine) : options.taskId(...args);
    // An async one by mistake, which is refused: what it rejects with must not end the process.
    if (typeof taskId !== 'string') Promise.resolve<unknown>(taskId).catch(() => {});
    checkId(`The id that taskId gave for "${name}"`, taskId);
    return { taskId, input: { raw: args, parsed: given, userContext: userContextOf(handler, args) } };
  };
  const start = async (...args: A): Promise<StartedTask<R>> => {
    const { taskId, input } = prepared(args, handler.input === null ? args : await parsed(handler, args));
    const { result } = await starter.start(handler, taskId, input);
    return { taskId, result: result as Promise<R> };
  };
  const call = async (...args: A): Promise<R> => {
    const { taskId, input } = prepared(args, handler.input === null ? args : await parsed(handler, args));
    const { result } = await starter.start(handler, taskId, input);
    return result as Promise<R>;
  };
  const submit = async (...args: A): Promise<{ taskId: string }> => {
    const { taskId, input } = prepared(args, await parsed(handler, args));
    await starter.submit(handler, taskId, input);
    return { taskId };
  };
  return Object.assign(call, { taskName: name, start, submit, with: onOthers(fn, options) });
}

/**
 * An id that comes after those of earlier ms, as text: records of tasks that run at the same time are neighbours then. In
 * SQLite they share pages, which is twice as fast as ids that are random from the start.
 */
function newTaskId({ clock, random }: Engine): string {
  const time = Math.floor(clock.wallMs()).toString(36);
  // 72 bits beside the ms: two of a million ids of one ms are alike once in ten billion such ms.
  return time.padStart(9, '0') + random.nonce(9);
}

function onOthers<A extends unknown[], R, D>(
  fn: TaskFunction<A, R, D>,
  options: AnyTaskOptions<A, R>,
): WrappedTask<A, R>['with'] {
  const wrapped = new WeakMap<object, WrappedTask<A, R>>();
  return (recovery) => {
    const known = wrapped.get(recovery);
    if (known !== undefined) return known;
    // Whatever signature it was wrapped with, it is the same function and the same options.
    const made = recovery.withRecovery(fn, options as TaskOptions<A, R>);
    wrapped.set(recovery, made);
    return made;
  };
}

/** A function as the runtime sees it. */
export function handlerOf<A extends unknown[], R, D>(
  { settings }: Pick<Engine, 'settings'>,
  fn: TaskFunction<A, R, D>,
  options: AnyTaskOptions<A, R>,
): Handler {
  const { name, discover, cleanup, userContext, document, query, group } = options;
  return {
    name,
    priority: options.priority ?? 0,
    checkpointFrequency: options.checkpointFrequency ?? null,
    ifRunning: options.ifRunning ?? null,
    recoverable: options.recovery !== 'never',
    crashBudget: budgetOf(options.maxCrashes, settings.crashBudget),
    strategies: options.strategies ?? null,
    validate: options.validate ?? null,
    version: options.version ?? FIRST_VERSION,
    migrate: options.migrate ?? null,
    onVersionMismatch: options.onVersionMismatch ?? 'restart',
    input: options.input ?? null,
    document:
      document === undefined
        ? null
        : (args) => ({
            path: () => document(...(args as A)),
            query: query === undefined ? null : () => query(...(args as A)),
          }),
    dispatch: options.dispatch === undefined ? settings.dispatch : options.dispatch,
    group: group === undefined ? null : (args) => group(...(args as A)),
    retentionMs: options.retentionMs,
    maxAttempts: options.maxAttempts ?? 1,
    maxDurationMs: options.maxDurationMs ?? null,
    maxSilenceMs: options.maxSilenceMs ?? null,
    userContext: userContext === undefined ? null : (args) => userContext(...(args as A)),
    cleanup:
      cleanup === undefined ? null : (snapshot, reason, args) => cleanup(snapshot, reason, ...(args as A)),
    discover: discover === undefined ? null : (map, keys, args) => discover(map, keys, ...(args as A)),
    // What is stored came in through this very signature, and JSON gives back what it was given.
    invoke: (context, args) => runIn(context, () => fn(context as RecoveryContext<D>, ...(args as A))),
  };
}

/** What the caller's context is, if it is asked for. @throws `INVALID_VALUE` for anything but an object */
function userContextOf({ name, userContext }: Handler, args: readonly unknown[]): unknown {
  if (userContext === null) return undefined;
  const value = userContext(args);
  // An async one by mistake, which is refused: what it rejects with must not end the process.
  Promise.resolve(value).catch(() => {});
  if (isObject(value)) return value;
  throw new RecoveryError('INVALID_VALUE', `userContext of "${name}" must give an object.`);
}
