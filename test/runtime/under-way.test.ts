import { afterEach, beforeEach, expect, it } from 'vitest';
import { settled } from '../support/manual-clock.js';
import { gate, trapUnhandledRejections, World } from './harness.js';
import { die, startQuietly, watched } from './lab.js';
import { jobs, lab } from './queue-lab.js';
import type { Lab } from './queue-lab.js';

let world: World;
trapUnhandledRejections();
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

/** A process whose queue takes its time, from its first job on. */
function slow(answer: () => Promise<void>): { at: Lab; asked: Promise<void> } {
  const first = gate();
  const dispatch = (): Promise<void> => {
    first.open();
    return answer();
  };
  return { at: lab(world, { dispatch: { dispatch } }), asked: first.passed };
}

it.each(['submit', 'submit once more', 'recover'])(
  'a shutdown waits for the job of a %s to get into the queue',
  async (how) => {
    const taken = gate();
    const { at, asked } = slow(() => taken.passed);
    if (how === 'recover') {
      const owner = lab(world, { waits: true });
      await startQuietly(owner.task, 't');
      await die(world, owner);
    }
    if (how === 'submit once more') await lab(world, { dispatch: jobs() }).task.submit('t');
    const work = how.startsWith('submit') ? at.task.submit('t') : at.recovery.recover();
    await asked;
    const over = watched(at.recovery.shutdown({ timeoutMs: 1_000 }));
    await settled();
    expect(over.state).toBe('open');
    taken.open();
    await settled();
    expect(over.state).toBe('resolved');
    await work;
  },
);

it('and for no longer than it has time', async () => {
  const { at, asked } = slow(() => new Promise(() => {}));
  void at.task.submit('t');
  await asked;
  const over = watched(at.recovery.shutdown({ timeoutMs: 1_000 }));
  await world.clock.advance(999);
  expect(over.state).toBe('open');
  await world.clock.advance(1);
  await settled();
  expect(over.state).toBe('resolved');
  await world.clock.advance(10_000);
});
