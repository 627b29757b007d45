/** Cancelling from outside: the owner hears of it with its next heartbeat, and nobody runs the task again. */
import { expect, test } from 'vitest';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';

endWithEachTest();

const ID = 'busy';
/** The owner hears of it in a third of this. */
const leaseMs = 3_000;

test.each(KINDS)('the owner hears of it from another process, also while it writes: %s', async (kind) => {
  const world = await makeWorld(kind);
  const [owner, other] = await Promise.all([world.worker({ leaseMs }), world.worker({ leaseMs })]);
  for (const worker of [owner, other]) await worker.call('startup');
  await owner.call('start', 'busy', { id: ID });
  await owner.heard({ type: 'effect', id: ID });
  expect(await other.call('cancel', ID, 'withdrawn')).toBe('requested');
  expect(await owner.heard({ type: 'aborted', id: ID })).toMatchObject({
    code: 'TASK_CANCELLED',
    attempt: 1,
  });
  expect(await owner.heard({ type: 'result', id: ID })).toMatchObject({ code: 'TASK_CANCELLED' });
  expect(await owner.heard({ type: 'cleanup', id: ID })).toMatchObject({ reason: 'cancelled' });
  const { status, error, crashes } = await world.task(ID);
  expect({ status, crashes }).toEqual({ status: 'cancelled', crashes: [] });
  expect(error).toMatchObject({ code: 'TASK_CANCELLED', message: expect.stringContaining('withdrawn') });
  // Nothing of it goes on, and nobody else had a part in it.
  const told = world.journal({ id: ID }).filter(({ type }) => type !== 'event');
  expect(new Set(told.map(({ pid }) => pid))).toEqual(new Set([owner.pid]));
  const after = told.slice(told.findIndex(({ type }) => type === 'left'));
  expect(after.map(({ type }) => type)).not.toContain('effect');
  expect(await other.call('cancel', ID, 'again')).toBe('ended');
  await expect(other.call('start', 'busy', { id: ID })).rejects.toThrow('TASK_CANCELLED');
});

test.each(KINDS)('one that is deaf to its signal is fenced off and told of: %s', async (kind) => {
  const world = await makeWorld(kind);
  const [owner, other] = await Promise.all([world.worker({ leaseMs }), world.worker({ leaseMs })]);
  await owner.call('start', 'gate', { id: ID });
  await owner.order(ID, { do: 'hang' });
  expect(await other.call('cancel', ID, '')).toBe('requested');
  await owner.heard({ type: 'event', event: 'alert', kind: 'signal_ignored' });
  expect(await owner.heard({ type: 'result', id: ID })).toMatchObject({ code: 'TASK_CANCELLED' });
  await owner.heard({ type: 'cleanup', id: ID, reason: 'cancelled' });
  expect(await world.task(ID)).toMatchObject({ status: 'cancelled', attempt: 1 });
});

test.each(KINDS)('a task whose owner dies before it hears of it never runs again: %s', async (kind) => {
  const world = await makeWorld(kind);
  const owner = await world.worker();
  await owner.call('startup');
  for (const id of ['before', 'after', 'called']) await owner.call('start', 'gate', { id });
  // It can't hear any more, and the storage doesn't know yet.
  owner.signal('SIGSTOP');
  const heir = await world.worker();
  for (const id of ['before', 'called']) expect(await heir.call('cancel', id, '')).toBe('requested');
  await owner.kill();
  expect(await heir.call('cancel', 'after', '')).toBe('requested');
  await expect(heir.call('start', 'gate', { id: 'called' })).rejects.toThrow('TASK_CANCELLED');
  await heir.call('startup');
  for (const id of ['before', 'after', 'called']) {
    await heir.heard({ type: 'cleanup', id, reason: 'cancelled' });
    expect(await world.task(id)).toMatchObject({ status: 'cancelled', attempt: 1 });
    await expect(heir.call('start', 'gate', { id })).rejects.toThrow('TASK_CANCELLED');
  }
  expect(await heir.call('plan')).toEqual([]);
  expect(world.journal({ type: 'running', attempt: 2 })).toEqual([]);
});
