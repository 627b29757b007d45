/** A task that loses its process in the middle, and goes on in another one. */
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { keys } from '../../src/state/keys.js';
import type { Storage } from '../../src/storage/storage.js';
import { gate, LEASE_MS } from './harness.js';
import type { World } from './harness.js';

/** Writes over a record of task "t", as a bug or an administrator would. */
export async function overwrite(
  storage: Storage,
  key: string,
  fields: Record<string, string>,
): Promise<void> {
  for (let partition = 0; partition < storage.partitions; partition += 1) {
    const name = `rekindle:${partition}`;
    const { records } = await storage.read(name, [keys.head('t')]);
    const token = records[0]?.get('token');
    if (token === undefined) continue;
    // The same token again would be a duplicate; the holder is dead, and a claim expects what it has just read.
    await storage.commit(name, [
      { guard: { key: keys.head('t'), expect: token, next: `${token}1` }, set: [{ key, fields }] },
    ]);
  }
}

/** Runs a body as task "t" in a process that is gone once the body says so, and then again in another one. */
export async function crashedOnce<R>(
  world: World,
  body: (ctx: RecoveryContext, crash: () => Promise<never>) => Promise<R>,
  {
    between,
    ...options
  }: Pick<Partial<TaskOptions<[]>>, 'discover' | 'strategies'> & {
    between?: (() => Promise<void>) | undefined;
  } = {},
): Promise<R> {
  const first = world.proc();
  const dead = gate();
  const crash = (): Promise<never> => {
    first.crash();
    dead.open();
    return new Promise(() => {});
  };
  const task = first.recovery.withRecovery((ctx) => body(ctx, crash), {
    ...options,
    name: 'n',
    taskId: () => 't',
  });
  const { result } = await task.start();
  result.catch(() => {});
  await world.until(dead.passed);
  await world.clock.advance(LEASE_MS + 1);
  await between?.();
  return world.until(task.with(world.proc().recovery)());
}
