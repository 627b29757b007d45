/** Orphans of workers that have died, for tests of what becomes of them. */
import type { TaskOptions } from '../../src/runtime/task-options.js';
import type { WrappedTask } from '../../src/runtime/with-recovery.js';
import { settled } from '../support/manual-clock.js';
import { untilAborted } from './harness.js';
import type { Proc, World } from './harness.js';

type Options = Omit<TaskOptions<[string], string>, 'name' | 'taskId'>;

export class DeadWorkers {
  /** The ids of the tasks that have begun once more. */
  began: string[] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Tasks that hang in their first attempt, and in a later one until the door opens. */
  readonly define = (
    { recovery }: Proc,
    name: string,
    options: Options = {},
    door: Promise<unknown> = Promise.resolve(),
  ): WrappedTask<[string], string> =>
    recovery.withRecovery<[string], string>(
      async (ctx, id) => {
        if (ctx.attempt === 1) return untilAborted(ctx);
        this.began.push(id);
        await door;
        return id;
      },
      { name, taskId: (id) => id, ...options },
    );

  /** A worker that began these, and died. */
  readonly died = async (ids: readonly string[], name = 'n', options: Options = {}): Promise<void> => {
    const proc = this.#world.proc();
    const task = this.define(proc, name, options);
    for (const id of ids) (await task.start(id)).result.catch(() => {});
    await settled();
    proc.crash();
  };
}
