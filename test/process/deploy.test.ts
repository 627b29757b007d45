/** Rolling deploys without a slot: the old process drains on SIGTERM while the new one starts and recovers. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { seededRandom } from './support/random.js';
import type { Report, WorkerProcess } from './support/worker-process.js';
import { KINDS, ROUNDS, endWithEachTest, makeWorld } from './support/world.js';
import type { Kind, World } from './support/world.js';

endWithEachTest();

const DEPLOYS = Math.min(ROUNDS, 20);
const ids: readonly string[] = Array.from({ length: 8 }, (_, index) => `busy-${index}`);
/** A new process looks again for what was given back since its start after a lease. */
const options = { leaseMs: 3_000, sweepIntervalMs: 100, handleSignals: {} };

const settled = async (worker: WorkerProcess): Promise<void> => {
  for (const id of ids) await worker.heard({ type: 'running', id });
  // In the middle of something.
  await worker.heard({ type: 'effect', id: ids[0] });
};

/** Nobody begins a run before the one before is over, each under the next fence; no piece of work is done twice. */
function checkRuns(reports: readonly Report[]): void {
  const runs = reports.filter(({ type }) => type === 'running' || type === 'left');
  const seen = runs.map(({ type, attempt, fence }) => ({ type, attempt, fence }));
  const first = Number(runs[0]?.['fence']);
  const expected = Array.from({ length: DEPLOYS + 1 }, (_, at) =>
    ['running', 'left'].map((type) => ({ type, attempt: at + 1, fence: first + at })),
  );
  expect(seen).toEqual(expected.flat());
  // Drained at its calls on the context, a task is not hurried, and keeps all that it has done.
  expect(reports.filter(({ type }) => type === 'aborted')).toEqual([]);
  const effects = reports.filter(({ type }) => type === 'effect').map(({ key }) => key);
  expect(effects).toEqual([...new Set(effects)]);
  for (const { type, code } of reports) if (type === 'result') expect(code ?? 'SHUT_DOWN').toBe('SHUT_DOWN');
}

async function deploy(world: World, old: WorkerProcess, pauseMs: number): Promise<WorkerProcess> {
  const next = await world.worker(options);
  const started = next.call('startup');
  // Before, while or after the new one looks for work.
  await delay(pauseMs);
  old.signal('SIGTERM');
  await started;
  // As without a handler, only later.
  expect(await old.exited).toEqual({ code: null, signal: 'SIGTERM' });
  return next;
}

async function rollOn(kind: Kind): Promise<void> {
  const { random, seed } = seededRandom();
  console.log(`deploy on ${kind}: REKINDLE_SEED=${seed}, ${DEPLOYS} rounds`);
  const world = await makeWorld(kind);
  let current = await world.worker(options);
  await current.call('startup');
  await Promise.all(ids.map((id) => current.call('start', 'busy', { id })));
  for (let round = 0; round < DEPLOYS; round += 1) {
    await settled(current);
    const old = current;
    current = await deploy(world, old, random() * 60);
    expect(old.problems).toEqual([]);
  }
  await settled(current);
  await current.call('enough');
  for (const id of ids) await current.heard({ type: 'event', event: 'task_completed', id });
  for (const id of ids) {
    checkRuns(world.journal({ id }));
    const { status, attempt, crashes, errorCount } = await world.task(id);
    expect({ id, status, attempt, crashes, errorCount }).toEqual({
      id,
      status: 'completed',
      attempt: DEPLOYS + 1,
      crashes: [],
      errorCount: 0,
    });
    const causes = (await world.events(id)).flatMap(({ cause }) => cause ?? []);
    expect(causes).toEqual(Array.from({ length: DEPLOYS }, () => 'released'));
  }
}

test(
  'a rolling deploy charges no task, strands none, and runs none twice at once',
  { timeout: 60_000 + 10_000 * DEPLOYS },
  // Side by side: most of it is a wait for the next sweep.
  async () => void (await Promise.all(KINDS.map(rollOn))),
);
