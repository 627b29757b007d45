import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { settled } from '../support/manual-clock.js';
import { gate, LEASE_MS, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import type { Proc } from './harness.js';
import { swept, watched } from './lab.js';

trapUnhandledRejections();

/** The wait after the n-th error: 1 s, doubling, and a quarter more, as the harness draws 0.5. */
const waitMs = (errors: number): number => 1_000 * 2 ** (errors - 1) * 1.25;
const OPTIONS = { name: 'n', taskId: () => 't' } as const;

describe.each([1, 3])('maxAttempts and other hands, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  /** Another process takes it when it is due, while its caller waits here. */
  async function takenElsewhere(ifRunning: 'reject' | 'join' | undefined): Promise<void> {
    const [here, there] = [world.proc(), world.proc()];
    const hold = gate();
    const define = ({ recovery }: Proc, work: () => Promise<string>) =>
      recovery.withRecovery(work, { ...OPTIONS, maxAttempts: 3, ...(ifRunning && { ifRunning }) });
    const task = define(here, () => Promise.reject(new Error('not here')));
    const other = define(there, () => hold.passed.then(() => 'there'));
    const call = watched(task());
    await settled();
    const taken = watched(other());
    await world.clock.advance(10 * LEASE_MS);
    expect([call.state, taken.state]).toEqual(['open', 'open']);
    hold.open();
    await world.clock.advance(LEASE_MS);
    expect([call, taken]).toEqual([
      { state: 'resolved', value: 'there' },
      { state: 'resolved', value: 'there' },
    ]);
  }

  it('another process takes it meanwhile: the caller that joins hears the end from there', async () => {
    await takenElsewhere('join');
  });

  it.each(['reject', undefined] as const)(
    'another process takes it meanwhile: its own caller hears the end from there (ifRunning: %s)',
    (ifRunning) => takenElsewhere(ifRunning),
  );

  it('the wait after an error in another process is kept by who waits for it here', async () => {
    const [here, there] = [world.proc(), world.proc()];
    const begun: number[] = [];
    const hold = gate();
    const options = { ...OPTIONS, maxAttempts: 4, ifRunning: 'join' as const };
    const task = here.recovery.withRecovery((ctx) => {
      begun.push(world.clock.monotonicMs());
      if (ctx.attempt === 1) throw new Error('no 1');
      return `here ${ctx.attempt}`;
    }, options);
    const other = there.recovery.withRecovery(async () => {
      await hold.passed;
      throw new Error('no 2');
    }, options);
    const call = task();
    await settled();
    void other().catch(() => {});
    await world.clock.advance(10_000);
    there.recovery.on('task_retrying', () => there.crash());
    hold.open();
    await settled();
    const failedAtMs = world.clock.monotonicMs();
    expect(await world.until(call)).toBe('here 3');
    expect((begun.at(-1) ?? 0) - failedAtMs).toBeGreaterThanOrEqual(waitMs(2));
  });

  it('it fails for good elsewhere: the caller here does not wait for ever, and it is not run again', async () => {
    const [here, there] = [world.proc(), world.proc()];
    const task = here.recovery.withRecovery(
      () => {
        throw new Error('the only error');
      },
      { ...OPTIONS, maxAttempts: 2 },
    );
    const call = rejectionOf(task());
    await settled();
    const other = there.recovery.withRecovery(
      () => {
        throw new Error('the last error');
      },
      { ...OPTIONS, maxAttempts: 2 },
    );
    // A direct call does not wait.
    expect(await rejectionOf(other())).toMatchObject({ message: 'the last error' });
    await world.clock.advance(waitMs(1));
    expect(await call).toMatchObject({ message: expect.stringMatching(/the (only|last) error/) });
    await expect(here.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed', attempt: 2 });
  });

  it('cancelled elsewhere during the wait: it never runs again, and the caller hears so', async () => {
    const [here, there] = [world.proc(), world.proc()];
    let runs = 0;
    const task = here.recovery.withRecovery(
      () => {
        runs += 1;
        throw new Error('no');
      },
      { ...OPTIONS, maxAttempts: 5 },
    );
    const call = rejectionOf(task());
    await settled();
    await expect(there.recovery.tasks.cancel('t', { reason: 'withdrawn' })).resolves.toBe('cancelled');
    await world.clock.advance(waitMs(1));
    expect(await call).toMatchObject({
      code: 'TASK_CANCELLED',
      message: expect.stringContaining('withdrawn'),
    });
    await world.clock.advance(60_000);
    expect(runs).toBe(1);
  });

  /** Requeued in the middle of a wait of 40 s, and looked at a little later. */
  async function requeuedDuringTheWait(where: 'here' | 'there'): Promise<void> {
    const procs = { here: world.proc(), there: world.proc() };
    const task = procs.here.recovery.withRecovery(
      (ctx) => {
        if (ctx.attempt < 7) throw new Error('no');
        return 'yes';
      },
      { ...OPTIONS, maxAttempts: 8 },
    );
    if (where === 'there') task.with(procs.there.recovery);
    for (const { recovery } of Object.values(procs)) await recovery.runStartupRecovery();
    const call = watched(task());
    await world.clock.advance(40_000);
    const { tasks } = procs[where].recovery;
    await expect(tasks.get('t')).resolves.toMatchObject({ attempt: 6, errorCount: 6 });
    await tasks.requeue('t');
    await expect(tasks.get('t')).resolves.toMatchObject({ errorCount: 0 });
    await world.clock.advance(LEASE_MS);
    await expect(tasks.get('t')).resolves.toMatchObject({ status: 'completed', attempt: 7 });
    expect(call.state).not.toBe('rejected');
  }

  it('requeued during the wait, in a process that does not wait for it: it runs at once', async () => {
    await requeuedDuringTheWait('there');
  });

  it('requeued during the wait, in the process that waits for it: it runs at once', async () => {
    await requeuedDuringTheWait('here');
  });

  it('a task that is recovered waits for its next try where it was, without taking a slot', async () => {
    const old = world.proc();
    const ran: string[] = [];
    const define = (proc: Proc) =>
      proc.recovery.withRecovery(
        async (ctx, id: string) => {
          ran.push(`${id}${ctx.attempt}`);
          if (ctx.attempt === 1) return new Promise<never>(() => {});
          if (id === 'bad') throw new Error('no');
          return id;
        },
        { name: 'n', taskId: (id) => id, maxAttempts: 3 },
      );
    const task = define(old);
    for (const id of ['bad', 'good']) (await task.start(id)).result.catch(() => {});
    old.crash();
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc({ concurrency: 1 });
    define(next);
    await expect(swept(world, next)).resolves.toMatchObject({ recovered: 2, deferred: 1 });
    expect(ran.slice(2)).toEqual(['bad2', 'good2']);
    await world.clock.advance(waitMs(1) + waitMs(2));
    expect(ran.slice(4)).toEqual(['bad3', 'bad4']);
    await expect(next.recovery.tasks.get('bad')).resolves.toMatchObject({ status: 'failed' });
  });
});
