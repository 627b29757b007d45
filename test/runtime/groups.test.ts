import { afterEach, beforeEach, expect, it } from 'vitest';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { jobs, lab } from './queue-lab.js';

let world: World;
trapUnhandledRejections();
beforeEach(() => {
  world = new World(3);
});
afterEach(() => world.end());

const group = (id: string): string => id.slice(0, 1);

it('several tasks of one job are listed together, whatever their states, pages and partitions', async () => {
  const at = lab(world, { dispatch: jobs(), task: { group } });
  const ids = ['a1', 'a2', 'a3', 'a4', 'a5'];
  for (const id of [...ids, 'b1']) await at.task.submit(id);
  await world.until(at.task('a6'));
  await world.until(at.task('a1'));
  await at.recovery.tasks.cancel('a2');
  const found: string[] = [];
  let after: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof at.recovery.tasks.list>> = await at.recovery.tasks.list({
      group: 'a',
      limit: 2,
      ...(after === null ? {} : { after }),
    });
    expect(page.tasks.length).toBeLessThanOrEqual(2);
    found.push(...page.tasks.map(({ taskId, status }) => `${taskId} ${status}`));
    after = page.next;
  } while (after !== null);
  expect(found.toSorted()).toEqual([
    'a1 completed',
    'a2 cancelled',
    'a3 pending',
    'a4 pending',
    'a5 pending',
    'a6 completed',
  ]);
  expect((await at.recovery.tasks.list({ group: 'none' })).tasks).toEqual([]);
});

it('one that is removed, by hand or out of its retention, leaves its group', async () => {
  const at = lab(world, { task: { group, retentionMs: 1_000 } });
  await world.until(Promise.all(['a1', 'a2'].map((id) => at.task(id))));
  expect(await at.recovery.tasks.remove('a1')).toBe(true);
  const entries = async (): Promise<number> => {
    const counts = await Promise.all(
      [0, 1, 2].map((n) => world.memory.count(`rekindle:${n}`, 'group:a', {})),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  };
  expect(await entries()).toBe(1);
  await world.clock.advance(2_000);
  expect(await at.recovery.cleanup()).toMatchObject({ completed: 1 });
  expect(await entries()).toBe(0);
});

it.each([
  ['a text that is no id', (): unknown => ''],
  ['a number', (): unknown => 7],
  ['a promise', (): unknown => Promise.reject(new Error('late'))],
])('%s is no group, and nothing is made', async (_, bad) => {
  // @ts-expect-error: what only a program without types does
  const at = lab(world, { dispatch: jobs(), task: { group: bad } });
  expect(await rejectionOf(at.task.submit('t'))).toMatchObject({ code: 'INVALID_ID' });
  expect(await rejectionOf(at.task('t'))).toMatchObject({ code: 'INVALID_ID' });
  expect(await at.recovery.tasks.get('t')).toBeNull();
});

it('goes not together with a name or a state', async () => {
  const { recovery } = lab(world);
  for (const other of [{ name: 'n' }, { status: 'pending' }] as const)
    expect(await rejectionOf(recovery.tasks.list({ group: 'a', ...other }))).toMatchObject({
      code: 'INVALID_OPTION',
    });
});
