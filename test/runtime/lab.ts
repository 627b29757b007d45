/** Short words for tests of what a task's author is given: processes that die, and others that go on. */
import type { RecoveryContext } from '../../src/runtime/context.js';
import { keys } from '../../src/state/keys.js';
import type { RecoveryReport } from '../../src/runtime/report.js';
import { settled } from '../support/manual-clock.js';
import { LEASE_MS } from './harness.js';
import type { Proc, World } from './harness.js';

/** Starts a task and forgets about its result. */
export async function startQuietly<A extends unknown[]>(
  task: { readonly start: (...args: A) => Promise<{ readonly result: Promise<unknown> }> },
  ...args: A
): Promise<void> {
  (await task.start(...args)).result.catch(() => {});
  await settled();
}

/** The same for one that may have to wait for its turn: time passes until it runs. */
export async function startInTime(
  world: World,
  task: { readonly start: () => Promise<{ readonly result: Promise<unknown> }> },
): Promise<void> {
  (await world.until(task.start())).result.catch(() => {});
  await settled();
}

/** The process dies, and its leases run out. */
export async function die(world: World, proc: Proc): Promise<void> {
  await settled();
  proc.crash();
  await world.clock.advance(LEASE_MS + 1);
}

/** Starts up, sweeps from then on, and reports what came of the first look. */
export async function swept(world: World, { recovery }: Proc): Promise<RecoveryReport> {
  const run = await world.until(recovery.runStartupRecovery());
  return world.until(run.finished);
}

/** The stored fields of a record of task "t", wherever its partition is; null when there is none. */
export async function fieldsOf(
  { memory }: World,
  key: string = keys.head('t'),
): Promise<Readonly<Record<string, string>> | null> {
  for (let partition = 0; partition < memory.partitions; partition += 1) {
    const { records } = await memory.read(`rekindle:${partition}`, [key]);
    if (records[0]) return Object.fromEntries(records[0]);
  }
  return null;
}

/** All that these processes have ever handed to the storage, as one text. */
export function written(...procs: readonly Proc[]): string {
  return JSON.stringify(procs.map(({ line }) => line.commits));
}

/** What a promise has come to so far. */
export function watched<T>(work: Promise<T>): { state: 'open' | 'resolved' | 'rejected'; value: unknown } {
  const seen: { state: 'open' | 'resolved' | 'rejected'; value: unknown } = { state: 'open', value: null };
  work.then(
    (value) => Object.assign(seen, { state: 'resolved', value }),
    (error: unknown) => Object.assign(seen, { state: 'rejected', value: error }),
  );
  return seen;
}

/** A task "t" that can be called again after it failed. */
export function callable<R>(
  world: World,
  body: (ctx: RecoveryContext) => Promise<R>,
  options: Parameters<World['proc']>[0] = {},
): Proc & { readonly call: () => Promise<R> } {
  const proc = world.proc(options);
  const wrapped = proc.recovery.withRecovery(body, { name: 'n', taskId: () => 't' });
  return { ...proc, call: () => world.until(wrapped()) };
}

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
