/** Workers that are killed at random moments and started again, until everything is done. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { seededRandom } from './support/random.js';
import type { Report, WorkerProcess } from './support/worker-process.js';
import { KINDS, ROUNDS, ROUNDS_TIMEOUT_MS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

endWithEachTest();

const TASKS = 6;
/** Enough that no round finishes them all. */
const STEPS = 20 * ROUNDS;
const ids: readonly string[] = Array.from({ length: TASKS }, (_, index) => `count-${index}`);

/** What a program does at boot: recovery first, then the calls for all that there is to do. */
async function boot(worker: WorkerProcess): Promise<void> {
  await worker.call('startup');
  await Promise.all(ids.map((id) => worker.call('start', 'steps', { id, steps: STEPS, pauseMs: 4 })));
}

/** Holds for each task, over all attempts: see the comments. */
function checkHistory(reports: readonly Report[]): void {
  let acknowledged = 0;
  let step = 0;
  let base: number | null = null;
  for (const report of reports) {
    const [attempt, fence] = [Number(report['attempt']), Number(report['fence'])];
    // The fence rises by one a claim, as the attempt does.
    base ??= fence - attempt;
    expect(fence - attempt).toBe(base);
    if (report['type'] === 'running') {
      step = Number(report['resumedStep']);
      // From the newest checkpoint: the last acknowledged one, or the one in hand when the kill came.
      expect([acknowledged, acknowledged + 1]).toContain(step);
      acknowledged = step;
      expect(report['resumedFrom']).toBe(step === 0 ? null : `step-${step % 7}`);
    } else {
      step += 1;
      expect(report['step']).toBe(step);
      acknowledged = step;
    }
  }
  expect(acknowledged).toBe(STEPS);
}

async function checkTasks(world: World, crashes: number): Promise<void> {
  for (const id of ids) {
    const told = world.journal({ id }).filter(({ type }) => type === 'running' || type === 'acknowledged');
    checkHistory(told);
    const task = await world.task(id);
    const [first] = told;
    expect(task.status).toBe('completed');
    expect(task.fence - task.attempt).toBe(Number(first?.['fence']) - Number(first?.['attempt']));
    expect(task.crashedAtMs).toHaveLength(task.attempt - 1);
    expect(task.attempt).toBeLessThanOrEqual(crashes + 1);
    const started = (await world.events(id)).filter(({ event }) => event === 'recovery_started');
    expect(started.map(({ cause }) => cause)).toEqual(started.map(() => 'owner_dead'));
    expect(started).toHaveLength(task.attempt - 1);
  }
}

/** Crashes that are forgotten at once: what is killed this often would be suspected, and wait. */
const NO_SUSPECTS = { count: 50, windowMs: 1 };

test.each(KINDS)(
  'killed at random moments, nothing acknowledged is lost: %s',
  { timeout: ROUNDS_TIMEOUT_MS },
  async (kind) => {
    const { random, seed } = seededRandom();
    console.log(`kill9 on ${kind}: REKINDLE_SEED=${seed}, ${ROUNDS} rounds`);
    const world = await makeWorld(kind);
    for (let round = 0; round < ROUNDS; round += 1) {
      // Every other kill comes from inside, with an acknowledgement; of the others some fall into recovery itself.
      const dieAfter = round % 2 === 0 ? 1 + Math.floor(random() * 40) : undefined;
      const worker = await world.worker({
        maxCrashes: NO_SUSPECTS,
        ...(dieAfter === undefined ? {} : { dieAfter }),
      });
      const booted = boot(worker).catch(() => {});
      if (dieAfter !== undefined) expect(await worker.exited).toEqual({ code: null, signal: 'SIGKILL' });
      else if (random() < 0.8)
        await worker.heard({ type: 'acknowledged', id: ids[Math.floor(random() * TASKS)] });
      await delay(random() * 30);
      await worker.kill();
      await booted;
    }
    const last = await world.worker({ maxCrashes: NO_SUSPECTS });
    await boot(last);
    for (const id of ids)
      expect(await last.heard({ type: 'result', id })).toMatchObject({ value: { steps: STEPS } });
    await checkTasks(world, ROUNDS);
  },
);

test.each(KINDS)('all workers die together, one restarts: %s', async (kind) => {
  const world = await makeWorld(kind);
  const workers = await Promise.all([world.worker(), world.worker(), world.worker()]);
  for (const [index, worker] of workers.entries()) {
    await worker.call('startup');
    await worker.call('start', 'gate', { id: `gate-${index}` });
    expect(await worker.order(`gate-${index}`, { do: 'checkpoint', name: 'kept' })).toBe('done');
  }
  await Promise.all(workers.map((worker) => worker.kill()));
  const heir = await world.worker();
  await heir.call('startup');
  for (const index of workers.keys()) {
    const id = `gate-${index}`;
    expect(await heir.heard({ type: 'running', id })).toMatchObject({
      attempt: 2,
      resumedFrom: 'kept',
    });
    await heir.order(id, { do: 'return', value: index });
  }
  expect(await heir.heard({ type: 'finished' })).toMatchObject({ discovered: 3, recovered: 3, failed: 0 });
});
