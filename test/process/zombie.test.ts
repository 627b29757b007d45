/** Workers that lose their tasks without dying: stopped for too long, cut off, or shadowed by a twin. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { startProxy } from '../support/tcp-proxy.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';

endWithEachTest();

const ID = 'gate';
/** Long enough for a busy machine: a worker that is only slow must not lose its task. */
const leaseMs = 1_500;
let server: RedisServer;
let proxy: TcpProxy;

beforeAll(async () => {
  server = await startRedis();
  proxy = await startProxy(server);
});
afterAll(async () => {
  await proxy.close();
  await server.stop();
});

const CODES = ['LEASE_LOST', 'LEASE_UNCERTAIN'];

const zombies = KINDS.flatMap((kind) => [
  { kind, timersFirst: false },
  { kind, timersFirst: true },
]);

test.each(zombies)(
  'a zombie is refused: $kind, notices by itself: $timersFirst',
  async ({ kind, timersFirst }) => {
    const world = await makeWorld(kind);
    const first = await world.worker({ leaseMs, sweepIntervalMs: 50 });
    await first.call('startup');
    await first.call('start', 'gate', { id: ID });
    expect(await first.order(ID, { do: 'checkpoint', name: 'kept', percent: 30 })).toBe('done');
    const { fence } = await world.task(ID);
    const second = await world.worker({ leaseMs, sweepIntervalMs: 50 });
    await second.call('startup');
    const answer = first.order(ID, { do: 'zombie', name: 'zombie', timersFirst });
    expect(await second.heard({ type: 'running', id: ID })).toMatchObject({
      attempt: 2,
      fence: fence + 1,
      resumedFrom: 'kept',
    });
    const taken = await world.task(ID);
    first.signal('SIGCONT');
    const said = await answer;
    // Without the timers it is SQLite that says no; on Redis the timer may be quicker than the answer.
    const { code } = await first.heard({ type: 'aborted', id: ID, attempt: 1 });
    expect(timersFirst ? ['LEASE_UNCERTAIN'] : kind === 'sqlite' ? ['LEASE_LOST'] : CODES).toContain(code);
    expect(said).toEqual({ written: code, later: code, signal: code });
    expect(await first.heard({ type: 'result', id: ID })).toMatchObject({ code });
    // Nothing of the zombie shows, and it doesn't take the task back from its new owner.
    expect(await first.call('plan')).toEqual([]);
    const { owner, progressPercent, crashedAtMs } = await world.task(ID);
    expect({ owner, progressPercent }).toEqual({ owner: taken.owner, progressPercent: 30 });
    expect(crashedAtMs).toHaveLength(1);
    expect(await world.checkpointNames(ID)).toEqual(['kept']);
    expect(await second.order(ID, { do: 'checkpoint', name: 'second' })).toBe('done');
    await second.order(ID, { do: 'return', value: 'second' });
    await second.heard({ type: 'event', event: 'task_completed', id: ID });
    expect(await world.checkpointNames(ID)).toEqual(expect.not.arrayContaining(['zombie']));
    const events = (await world.events(ID)).map(({ event, attempt }) => [event, attempt]);
    expect(events).toEqual([
      ['task_started', '1'],
      ['recovery_started', '2'],
      ['processing_resumed', '2'],
      ['recovery_completed', '2'],
      ['task_completed', '2'],
    ]);
  },
);

test.each(KINDS)(
  'stopped for longer than the lease with nobody else there, it goes on uncharged: %s',
  async (kind) => {
    const world = await makeWorld(kind);
    const worker = await world.worker({ leaseMs, sweepIntervalMs: 50 });
    await worker.call('startup');
    await worker.call('start', 'gate', { id: ID });
    expect(await worker.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
    const { fence, leaseUntilMs } = await world.task(ID);
    const answer = worker.order(ID, { do: 'zombie', name: 'awake', timersFirst: true });
    await worker.heard({ type: 'stopping', id: ID });
    await world.storageTimePasses((leaseUntilMs ?? 0) + leaseMs);
    worker.signal('SIGCONT');
    expect(await answer).toMatchObject({ written: 'LEASE_UNCERTAIN' });
    expect(await worker.heard({ type: 'running', id: ID, attempt: 2 })).toMatchObject({
      fence: fence + 1,
      resumedFrom: 'kept',
    });
    expect(await world.task(ID)).toMatchObject({ crashedAtMs: [], orphanCause: 'own' });
  },
);

test('cut off from Redis it stops by itself, and takes its task back uncharged', async () => {
  const world = await makeWorld('redis', server);
  const worker = await world.worker({ leaseMs, sweepIntervalMs: 100, port: proxy.port });
  await worker.call('startup');
  await worker.call('start', 'gate', { id: ID });
  expect(await worker.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  const { fence } = await world.task(ID);
  proxy.blackHole();
  const lost = worker.order(ID, { do: 'checkpoint', name: 'in the dark' });
  expect(await worker.heard({ type: 'aborted', id: ID })).toMatchObject({ code: 'LEASE_UNCERTAIN' });
  expect(await lost).toBe('LEASE_UNCERTAIN');
  expect(await worker.heard({ type: 'result', id: ID })).toMatchObject({ code: 'LEASE_UNCERTAIN' });
  proxy.heal();
  expect(await worker.heard({ type: 'running', id: ID, attempt: 2 })).toMatchObject({
    fence: fence + 1,
    // Not acknowledged is not the same as not made: it may have come through with the healing.
    resumedFrom: expect.stringMatching(/^kept$|^in the dark$/),
  });
  expect(await world.task(ID)).toMatchObject({ crashedAtMs: [], orphanCause: 'own' });
  expect(await worker.order(ID, { do: 'checkpoint', name: 'back' })).toBe('done');
  expect(await world.checkpointNames(ID)).toEqual(expect.arrayContaining(['kept', 'back']));
});

test('cut off from Redis it leaves the task to whoever has taken it', async () => {
  const world = await makeWorld('redis', server);
  const first = await world.worker({ leaseMs, sweepIntervalMs: 100, port: proxy.port });
  await first.call('startup');
  await first.call('start', 'gate', { id: ID });
  expect(await first.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  const second = await world.worker({ leaseMs, sweepIntervalMs: 50 });
  await second.call('startup');
  proxy.blackHole();
  expect(await first.heard({ type: 'aborted', id: ID })).toMatchObject({ code: 'LEASE_UNCERTAIN' });
  expect(await second.heard({ type: 'running', id: ID })).toMatchObject({ attempt: 2, resumedFrom: 'kept' });
  proxy.heal();
  // It knows of nothing to take back once it reaches the storage again.
  await expect.poll(() => first.call('plan').catch(String), { timeout: 20_000 }).toEqual([]);
  await expect(first.call('start', 'gate', { id: ID })).rejects.toThrow('TASK_RUNNING_ELSEWHERE');
  await second.order(ID, { do: 'return', value: 'second' });
  await second.heard({ type: 'event', event: 'task_completed', id: ID });
  expect(await world.task(ID)).toMatchObject({ status: 'completed', attempt: 2 });
  expect((await world.task(ID)).crashedAtMs).toHaveLength(1);
  expect(first.all({ type: 'running' })).toHaveLength(1);
});

test.each(KINDS)('a slot is taken back at once where death is not provable: %s', async (kind) => {
  const world = await makeWorld(kind);
  const first = await world.worker({ slot: 'worker-0' });
  await first.call('startup');
  await first.call('start', 'gate', { id: ID });
  expect(await first.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  await first.kill();
  const left = await world.task(ID);
  await world.editWorker(left.owner, { bootId: 'before the restart of the container' });
  const stranger = await world.worker({ slot: 'worker-1' });
  await stranger.call('startup');
  expect(await stranger.call('plan')).toEqual([]);
  const second = await world.worker({ slot: 'worker-0' });
  await second.call('startup');
  expect(await second.heard({ type: 'running', id: ID })).toMatchObject({
    attempt: 2,
    fence: left.fence + 1,
    resumedFrom: 'kept',
  });
  const claimed = (await world.events(ID)).find(({ event }) => event === 'recovery_started');
  expect(claimed).toMatchObject({ cause: 'slot_taken_over' });
  expect(Number(claimed?.['timestamp'])).toBeLessThan(left.leaseUntilMs ?? 0);
});

test.each(KINDS)('a living twin with the same slot is fenced off: %s', async (kind) => {
  const world = await makeWorld(kind);
  const slot = 'worker-0';
  const first = await world.worker({ slot, leaseMs });
  await first.call('startup');
  for (const id of [ID, 'quiet']) await first.call('start', 'gate', { id });
  expect(await first.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  const twin = await world.worker({ slot, leaseMs });
  await twin.call('startup');
  expect(await twin.heard({ type: 'running', id: ID })).toMatchObject({ attempt: 2, resumedFrom: 'kept' });
  // It writes before it has noticed: refused by the storage, or by itself when it was quick.
  expect(await first.order(ID, { do: 'checkpoint', name: 'twin' })).not.toBe('done');
  expect(await first.heard({ type: 'event', event: 'alert', kind: 'slot_conflict' })).toBeDefined();
  for (const id of [ID, 'quiet']) {
    const { code } = await first.heard({ type: 'result', id });
    expect(['LEASE_LOST', 'SLOT_CONFLICT']).toContain(code);
  }
  await expect(first.call('start', 'gate', { id: 'new' })).rejects.toThrow('SLOT_CONFLICT');
  await expect(first.call('startup')).rejects.toThrow('SLOT_CONFLICT');
  expect(await twin.order(ID, { do: 'checkpoint', name: 'alone' })).toBe('done');
  expect(await world.checkpointNames(ID)).toEqual(expect.not.arrayContaining(['twin']));
  expect(await world.observer.tasks.get('new')).toBeNull();
  expect(await world.task('quiet')).toMatchObject({ attempt: 2, orphanCause: 'slot_taken_over' });
});
