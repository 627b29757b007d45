/** A network that fails again and again between the workers and Redis: nothing is lost, and nothing happens twice. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { startProxy } from '../support/tcp-proxy.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import { seededRandom } from './support/random.js';
import type { WorkerProcess } from './support/worker-process.js';
import { ROUNDS, ROUNDS_TIMEOUT_MS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

endWithEachTest();

let server: RedisServer;
let proxy: TcpProxy;

beforeAll(async () => {
  server = await startRedis();
  proxy = await startProxy(server);
});
afterEach(() => proxy.heal());
afterAll(async () => {
  await proxy.close();
  await server.stop();
});

const ids = ['count-0', 'count-1', 'count-2'];

async function startSteps(worker: WorkerProcess, steps: number): Promise<void> {
  await worker.call('startup');
  for (const id of ids) await worker.call('start', 'steps', { id, steps, pauseMs: 4 });
}

/** In one attempt, without a doubt about a lease, each step acknowledged once. */
async function expectUntouched(world: World, worker: WorkerProcess, steps: number): Promise<void> {
  for (const id of ids) {
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ value: { steps } });
    expect(await world.task(id)).toMatchObject({ status: 'completed', attempt: 1, errorCount: 0 });
    const told = worker.all({ type: 'acknowledged', id }).map(({ step }) => step);
    expect(told).toEqual(Array.from({ length: steps }, (_, index) => index + 1));
  }
}

test('a connection that is reset every 50 to 500 ms', { timeout: ROUNDS_TIMEOUT_MS }, async () => {
  const { random, seed } = seededRandom();
  // About 20 s in the long lane.
  const resets = 4 * ROUNDS;
  console.log(`flapping connection: REKINDLE_SEED=${seed}, ${resets} resets`);
  const steps = 120 * ROUNDS;
  const world = await makeWorld('redis', server);
  const worker = await world.worker({ port: proxy.port });
  await startSteps(worker, steps);
  for (let reset = 0; reset < resets; reset += 1) {
    await delay(50 + 450 * random() ** 2);
    proxy.resetAll();
  }
  await expectUntouched(world, worker, steps);
});

test(
  'replies that get lost, one after the other: each step counts once',
  { timeout: ROUNDS_TIMEOUT_MS },
  async () => {
    const { random, seed } = seededRandom();
    console.log(`lost replies: REKINDLE_SEED=${seed}`);
    const steps = 40 * ROUNDS;
    const world = await makeWorld('redis', server);
    const worker = await world.worker({ port: proxy.port });
    await startSteps(worker, steps);
    for (let lost = 0; lost < 3 * ROUNDS; lost += 1) {
      const after = Math.floor(random() * 4);
      let seen = 0;
      // Not any commit: reads may be lost, too, but prove nothing.
      await proxy.dropNextReply((bytes) => bytes.includes('step-') && (seen += 1) > after);
    }
    proxy.heal();
    await expectUntouched(world, worker, steps);
  },
);

test('a commit that arrives once more when newer ones are there changes nothing', async () => {
  const world = await makeWorld('redis', server);
  const leaseMs = 2_000;
  const worker = await world.worker({ leaseMs, port: proxy.port });
  await worker.call('startup');
  await worker.call('start', 'gate', { id: 'gate' });
  expect(await worker.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
  const holding = proxy.holdNextRequest((bytes) => bytes.includes('held back'));
  const answer = worker.order('gate', { do: 'checkpoint', name: 'held back' });
  const late = await holding;
  proxy.resetAll();
  // Over a new connection it has come through.
  expect(await answer).toBe('done');
  expect(await worker.order('gate', { do: 'checkpoint', name: 'newer' })).toBe('done');
  const before = await Promise.all([world.checkpointNames('gate'), world.events('gate')]);
  expect(String(await late.deliver())).not.toMatch(/^-/);
  expect(await Promise.all([world.checkpointNames('gate'), world.events('gate')])).toEqual(before);
  await worker.order('gate', { do: 'return', value: 'once' });
  expect(await worker.heard({ type: 'result', id: 'gate' })).toMatchObject({ value: 'once' });
  expect(await world.task('gate')).toMatchObject({ status: 'completed', attempt: 1 });
});

test('sockets that stay open and silent, for less than a lease: calls end by their deadline and are repeated', async () => {
  const world = await makeWorld('redis', server);
  const worker = await world.worker({ leaseMs: 6_000, port: proxy.port });
  await worker.call('startup');
  await worker.call('start', 'gate', { id: 'gate' });
  expect(await worker.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
  const { fence } = await world.task('gate');
  for (const silence of ['blackHole', 'swallowReplies'] as const) {
    proxy[silence]();
    const answer = worker.order('gate', { do: 'checkpoint', name: silence });
    // A call has a quarter of the lease.
    await expect(worker.call('plan')).rejects.toThrow('STORAGE_UNAVAILABLE');
    proxy.heal();
    expect(await answer).toBe('done');
  }
  await worker.order('gate', { do: 'return', value: 'once' });
  expect(await worker.heard({ type: 'result', id: 'gate' })).toMatchObject({ value: 'once' });
  expect(await world.task('gate')).toMatchObject({ status: 'completed', attempt: 1, fence });
});
