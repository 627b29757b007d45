/** All at once: thousands of orphans, a few processes that recover them, each of which does its share. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { ROUNDS, endWithEachTest, makeWorldAt } from './support/world.js';

endWithEachTest();

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

/** 10,000 in the long lane. */
const COUNT = ROUNDS >= 25 ? 10_000 : 1_000;

test(
  'a storm of orphans and four workers: each runs once, and nobody starves',
  { timeout: 180_000 },
  async () => {
    // Room for all events, which are looked through after.
    const world = makeWorldAt({ redis: { port: server.port }, storage: { maxEvents: 20 * COUNT } });
    const ids = Array.from({ length: COUNT }, (_, index) => `orphan-${index}`);
    const first = await world.worker({ hold: true });
    await first.call(
      'startAll',
      'job',
      ids.map((id) => ({ id })),
    );
    await first.kill();
    const workers = await Promise.all(ids.slice(0, 4).map(() => world.worker()));
    await Promise.all(workers.map((worker) => worker.call('startup')));
    const finished = await Promise.all(workers.map((worker) => worker.heard({ type: 'finished' })));
    for (const report of finished)
      expect(report).toMatchObject({ failed: 0, skipped: 0, deferred: 0, deadLettered: 0 });
    const shares = finished.map(({ recovered }) => Number(recovered));
    console.log(`${COUNT} orphans: ${shares.join(' + ')}`);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(COUNT);
    expect(Math.min(...shares)).toBeGreaterThan(COUNT / 40);
    const ran = world.journal({ type: 'running', attempt: 2 }).map(({ id }) => id);
    expect(ran).toHaveLength(COUNT);
    expect(new Set(ran).size).toBe(COUNT);
  },
);
