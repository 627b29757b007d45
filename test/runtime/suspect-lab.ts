/** Tasks that were in flight in two crashes, and the few words that tests of their trials share. */
import type { Recovery } from '../../src/runtime/recovery.js';
import type { World } from './harness.js';
import { die, startQuietly } from './lab.js';

/** A function that takes no notice of anything. */
export const hang = (): Promise<never> => new Promise<never>(() => {});

/** Virtual time that passes for a task function. */
export const later = (world: World, ms: number): Promise<void> =>
  new Promise((resolve) => void world.clock.schedule(ms, resolve));

/** Tasks "s" whose id is their only argument. */
export const byId = (name: string): { name: string; taskId: (id: string) => string } => ({
  name,
  taskId: (id) => id,
});

/** Has tasks "s" crash with their process twice, after `ranMs` each; they are orphans of a dead owner then. */
export async function crashTwice(world: World, ids: readonly string[], ranMs = 100): Promise<void> {
  for (let crash = 0; crash < 2; crash += 1) {
    const proc = world.proc();
    const task = proc.recovery.withRecovery((_ctx, _id: string) => hang(), byId('s'));
    for (const id of ids) await startQuietly(task, id);
    await world.clock.advance(ranMs);
    await die(world, proc);
  }
}

/** The same, and another process has found them by now, charged the crashes, and queued them. */
export async function suspects(world: World, ids: readonly string[]): Promise<void> {
  await crashTwice(world, ids);
  const { recovery } = world.proc();
  recovery.withRecovery((_ctx, _id: string) => hang(), byId('s'));
  await world.until(recovery.runStartupRecovery());
  await world.until(recovery.shutdown({ timeoutMs: 100 }));
}

/** All tasks: id and state. */
export async function statesOf(recovery: Recovery): Promise<Record<string, string>> {
  const { tasks } = await recovery.tasks.list();
  return Object.fromEntries(tasks.map(({ taskId, status }) => [taskId, status]));
}

/** Many minutes, one after another: a timer may have work to do in each. */
export async function minutes(world: World, count: number): Promise<void> {
  for (let minute = 0; minute < count; minute += 1) await world.clock.advance(60_000);
}
