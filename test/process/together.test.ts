/** After one crash nobody is a suspect: whatever was in flight resumes together. */
import { expect, test } from 'vitest';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';

endWithEachTest();

const COUNT = 200;
const ids: readonly string[] = Array.from({ length: COUNT }, (_, index) => `task-${index}`);

test.each(KINDS)(
  '200 tasks of a killed process resume at the same time, not one by one: %s',
  async (kind) => {
    const world = await makeWorld(kind);
    const first = await world.worker({ hold: true });
    await first.call('startup');
    await Promise.all(ids.map((id) => first.call('start', 'together', { id, count: COUNT })));
    await Promise.all(ids.map((id) => first.heard({ type: 'running', id })));
    await first.kill();
    const second = await world.worker({ concurrency: COUNT });
    await second.call('startup');
    // None of them ends before all of them run.
    expect(await second.heard({ type: 'finished' })).toMatchObject({
      recovered: COUNT,
      failed: 0,
      skipped: 0,
    });
    expect(second.all({ type: 'running', attempt: 2 })).toHaveLength(COUNT);
    const events = second.reports.filter(
      ({ event, type }) => type === 'running' || event === 'task_completed',
    );
    expect(events.slice(0, COUNT).map(({ type }) => type)).toEqual(ids.map(() => 'running'));
    for (const id of ids) {
      const { status, attempt, crashes } = await world.task(id);
      expect({ status, attempt }).toEqual({ status: 'completed', attempt: 2 });
      expect(crashes, id).toMatchObject([{ attempt: 1, cause: 'owner_dead', suspects: null }]);
    }
  },
);
