/** Tasks that take their process down each time: given up with their evidence, while all that ran beside them ends well. */
import { expect, test } from 'vitest';
import type { WorkerProcess } from './support/worker-process.js';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';
import type { Kind, World } from './support/world.js';

endWithEachTest();

const POISON = 'poison';
const STEPS = 4;
const neighbours: readonly string[] = Array.from({ length: 6 }, (_, index) => `neighbour-${index}`);
const ids = [POISON, ...neighbours];
/** More would mean that it is never found. */
const MOST_DEATHS = 12;

/** How a task kills its process, and how one sees that from outside. */
const WAYS = [
  { how: 'abort', signal: 'SIGABRT', nodeArgs: [] },
  { how: 'heap', signal: 'SIGABRT', nodeArgs: ['--max-old-space-size=32'] },
  { how: 'kill', signal: 'SIGKILL', nodeArgs: [] },
] as const;
type Way = (typeof WAYS)[number];

const inputOf = (id: string, { how }: Way): [name: string, input: object] =>
  id === POISON
    ? ['poison', { id, how, after: neighbours.length }]
    : // In flight in the first two crashes for certain.
      ['steps', { id, steps: STEPS, stuck: 2 }];

/** Resolves when all have ended; false when the worker has. */
async function survives(world: World, worker: WorkerProcess): Promise<boolean> {
  let gone = false;
  void worker.exited.then(() => (gone = true));
  const ended = async (id: string): Promise<boolean> =>
    ['completed', 'dead_letter'].includes((await world.task(id)).status);
  await expect
    .poll(async () => gone || (await Promise.all(ids.map(ended))).every(Boolean), { timeout: 50_000 })
    .toBe(true);
  return !gone;
}

/** What a process does at boot: recovers, and, where a queue brings all jobs again, calls for all of them. */
interface Boot {
  readonly calls: boolean;
}

/** Runs the poison beside its neighbours, and worker after worker, until one survives. Returns it. */
async function untilOneSurvives(world: World, way: Way, { calls }: Boot): Promise<WorkerProcess> {
  const exit = { code: null, signal: way.signal };
  const options = { nodeArgs: way.nodeArgs };
  const callAll = async (worker: WorkerProcess): Promise<unknown> =>
    Promise.allSettled([...neighbours, POISON].map((id) => worker.call('start', ...inputOf(id, way))));
  const first = await world.worker(options);
  await first.call('startup');
  await callAll(first);
  expect(await first.exited).toEqual(exit);
  for (let deaths = 1; deaths < MOST_DEATHS; deaths += 1) {
    const next = await world.worker(options);
    await next.call('startup').catch(() => {});
    if (calls) void callAll(next);
    if (await survives(world, next)) return next;
    expect(await next.exited).toEqual(exit);
  }
  throw new Error(`${MOST_DEATHS} workers died.`);
}

async function checkEnds(world: World, last: WorkerProcess): Promise<void> {
  const bad = await world.task(POISON);
  expect(bad).toMatchObject({ status: 'dead_letter', error: { code: 'TASK_DEAD_LETTER' } });
  const { crashes, attempt } = bad;
  // One for each time that it ran, each with another owner, in order.
  expect(crashes.map((crash) => crash.attempt)).toEqual(Array.from({ length: attempt }, (_, at) => at + 1));
  expect(crashes.length).toBeGreaterThanOrEqual(3);
  expect(new Set(crashes.map(({ owner }) => owner)).size).toBe(crashes.length);
  expect(bad.crashedAtMs).toEqual(crashes.map(({ atMs }) => atMs).toSorted((one, other) => one - other));
  for (const crash of crashes) expect(crash).toMatchObject({ cause: 'owner_dead', step: 'swallowing' });
  // The first two with all in flight; then among fewer and fewer suspects, until it was alone.
  expect(crashes.slice(0, 2).map(({ suspects }) => suspects)).toEqual([null, null]);
  expect(crashes.at(-1)?.suspects).toBe(1);
  expect(world.journal({ type: 'running', id: POISON })).toHaveLength(attempt);
  expect(await world.checkpointNames(POISON)).toEqual(['taken']);
  const ends = (await world.events(POISON)).filter(({ event }) => event === 'dead_lettered');
  expect(ends).toMatchObject([{ reason: expect.stringContaining('"swallowing"') }]);
  for (const id of neighbours) {
    expect(await world.task(id), id).toMatchObject({ status: 'completed' });
    // Each step once. That it was acknowledged may be lost with the process.
    const steps = world.journal({ type: 'acknowledged', id }).map(({ step }) => Number(step));
    expect(steps, id).toEqual([...new Set(steps)].toSorted((one, other) => one - other));
    expect((await world.events(id)).filter(({ event }) => event === 'task_completed')).toHaveLength(1);
  }
  await expect(last.call('start', 'poison', { id: POISON })).rejects.toThrow('TASK_DEAD_LETTER');
}

// The backoff between the crashes is what takes long: all of them side by side.
async function inAllWays(boot: Boot): Promise<void> {
  const run = async (kind: Kind, way: Way): Promise<void> => {
    const world = await makeWorld(kind);
    await checkEnds(world, await untilOneSurvives(world, way, boot));
  };
  await Promise.all(KINDS.flatMap((kind) => WAYS.map((way) => run(kind, way))));
}

test(
  'a task that aborts, exhausts the heap or kills its process is given up, its neighbours complete',
  { timeout: 120_000 },
  () => inAllWays({ calls: false }),
);

test('the same where each new process also calls for all of them at boot', { timeout: 120_000 }, () =>
  inAllWays({ calls: true }),
);
