/** A map whose process is killed at a random item, and that another process brings to its end. */
import { expect, test } from 'vitest';
import { seededRandom } from './support/random.js';
import type { Report } from './support/worker-process.js';
import { KINDS, ROUNDS, ROUNDS_TIMEOUT_MS, endWithEachTest, makeWorld } from './support/world.js';

endWithEachTest();

const ITEMS = 200;

/** The items that began more than once, each with the keys that it was given. */
function twice(reports: readonly Report[]): Map<number, Set<unknown>> {
  const [keys, times] = [new Map<number, Set<unknown>>(), new Map<number, number>()];
  for (const { item, idempotencyKey } of reports) {
    const index = Number(item);
    times.set(index, (times.get(index) ?? 0) + 1);
    keys.set(index, (keys.get(index) ?? new Set()).add(idempotencyKey));
  }
  expect(keys.size).toBe(ITEMS);
  expect(new Set([...keys.values()].map(([key]) => key)).size).toBe(ITEMS);
  return new Map([...keys].filter(([item]) => (times.get(item) ?? 0) > 1));
}

test.each(KINDS)(
  'killed at a random item, a map runs at most the items in hand twice: %s',
  { timeout: ROUNDS_TIMEOUT_MS },
  async (kind) => {
    const { random, seed } = seededRandom();
    console.log(`map on ${kind}: REKINDLE_SEED=${seed}, ${ROUNDS} rounds`);
    const world = await makeWorld(kind);
    for (let round = 0; round < ROUNDS; round += 1) {
      const [id, concurrency] = [`map-${round}`, 1 + Math.floor(random() * 8)];
      const input = { id, items: ITEMS, concurrency };
      const first = await world.worker({ dieAtItem: 1 + Math.floor(random() * ITEMS) });
      await first.call('startup');
      await first.call('start', 'map', input).catch(() => {});
      expect(await first.exited).toEqual({ code: null, signal: 'SIGKILL' });
      const heir = await world.worker();
      await heir.call('startup');
      await heir.call('start', 'map', input);
      const { value } = await heir.heard({ type: 'result', id });
      expect(value).toEqual(Array.from({ length: ITEMS }, (_, item) => item * 2));
      const again = twice(world.journal({ type: 'item', id }));
      expect(again.size).toBeLessThanOrEqual(concurrency);
      for (const keys of again.values()) expect(keys.size).toBe(1);
      expect(await world.task(id)).toMatchObject({ status: 'completed', attempt: 2 });
      await heir.kill();
    }
  },
);
