import { afterEach, beforeEach, expect, it } from 'vitest';
import { createHttpHandler } from '../../src/integrations/http/index.js';
import { deferred } from '../../src/runtime/deferred.js';
import { healthReportSchema } from '../../src/schemas/operations.js';
import { trapUnhandledRejections, World } from './harness.js';
import { jobs, lab } from './queue-lab.js';

let world: World;
trapUnhandledRejections();
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

const COUNTS = { waiting: 3, active: 1, failed: 2 };

it('stand with the checks of health, a queue of its own under the name of its task', async () => {
  const own = jobs({ describe: () => Promise.resolve({ ...COUNTS, waiting: 9 }) });
  const queue = jobs({ describe: () => COUNTS });
  const { recovery } = lab(world, { dispatch: queue, task: { dispatch: own } });
  recovery.withRecovery(() => 1, { name: 'same' });
  recovery.withRecovery(() => 1, { name: 'silent', dispatch: jobs() });
  recovery.withRecovery(() => 1, { name: 'none', dispatch: null });
  const report = await recovery.health();
  expect(report.checks).toMatchObject({
    queue: { status: 'up', error: null, counts: COUNTS },
    'queue:n': { status: 'up', counts: { ...COUNTS, waiting: 9 } },
  });
  expect(Object.keys(report.checks)).toEqual(['storage', 'queue', 'queue:n']);
  expect(healthReportSchema.parse(report)).toEqual(report);
});

it.each([
  [
    'throws',
    (): never => {
      throw new Error('no');
    },
  ],
  ['rejects', (): unknown => Promise.reject(new Error('no'))],
  ['hangs', (): unknown => deferred<typeof COUNTS>().promise],
  ['gives nonsense', (): unknown => ({ waiting: 'many', active: Number.NaN })],
  ['gives nothing', (): unknown => undefined],
] as const)('of a queue that %s are none, and its check is down', async (_, answer) => {
  const queue = { ...jobs(), describe: answer };
  // @ts-expect-error: nonsense, in some of the cases
  const { recovery } = lab(world, { dispatch: queue });
  const report = await world.until(recovery.health());
  expect(report.checks['queue']).toMatchObject({ status: 'down', error: expect.stringMatching(/.+/) });
  expect(report.checks['queue']?.counts).toBeUndefined();
  expect(report).toMatchObject({ overall_health: 'unhealthy', reasons: [{ code: 'check_failed' }] });
});

it('give way to a check of that name', async () => {
  const queue = jobs({ describe: () => COUNTS });
  const { recovery } = lab(world, { dispatch: queue, checks: { queue: () => true } });
  expect((await recovery.health()).checks['queue']?.counts).toBeUndefined();
});

it('are shown by GET /health/detailed beside the recovery queue', async () => {
  const { recovery, task } = lab(world, { dispatch: jobs({ describe: () => COUNTS }) });
  await task.submit('t');
  const answer = await createHttpHandler(recovery)(new Request('http://x/health/detailed'));
  expect(await answer.json()).toMatchObject({
    checks: {
      storage: { counts: { pending: 1 } },
      queue: {
        status: 'up',
        counts: { waiting: 0, orphaned: 0, jobs_waiting: 3, jobs_active: 1, jobs_failed: 2 },
      },
    },
  });
});
