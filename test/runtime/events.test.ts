import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryEvent } from '../../src/domain/events.js';
import type { Recovery } from '../../src/runtime/recovery.js';
import { settled } from '../support/manual-clock.js';
import { LEASE_MS, namesOf, rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('events, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  async function stored(recovery: Recovery, after?: string): Promise<RecoveryEvent[]> {
    const stop = new AbortController();
    const seen: RecoveryEvent[] = [];
    const reading = (async () => {
      for await (const event of recovery.events({
        signal: stop.signal,
        ...(after === undefined ? {} : { after }),
      }))
        seen.push(event);
    })();
    await settled();
    stop.abort();
    await world.clock.advance(1_000);
    await reading;
    return seen;
  }

  const of = (events: readonly RecoveryEvent[], id: string): RecoveryEvent[] =>
    events.filter(({ task_id }) => task_id === id);

  it('tell the whole story of a task, numbered without a gap; what was heard here is what is stored', async () => {
    const old = world.proc({ optionalEvents: ['checkpoint_created'] });
    const task = old.recovery.withRecovery(
      async (ctx) => {
        if (ctx.attempt > 1) return 'done';
        await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
        return untilAborted(ctx);
      },
      { name: 'n', taskId: () => 't' },
    );
    (await task.start()).result.catch(() => {});
    await settled();
    old.crash();
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc();
    await task.with(next.recovery)();
    const story = of(await stored(next.recovery), 't');
    expect(namesOf(story)).toEqual([
      'task_started',
      'checkpoint_created',
      'recovery_started',
      'processing_resumed',
      'recovery_completed',
      'task_completed',
    ]);
    expect(story.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(story.map(({ recovery }) => recovery)).toEqual([false, false, true, true, true, true]);
    expect(story[2]?.details).toMatchObject({
      attempt: '2',
      cause: 'lease_over',
      decision: 'resume',
      crashes: '1',
    });
    expect(story[3]?.details).toMatchObject({ checkpoint: 'half', progress_percent: '50' });
    const local = [...old.heard, ...next.heard].map((event) => ({ ...event, cursor: null }));
    expect(local).toEqual(story.map((event) => ({ ...event, cursor: null })));
  });

  it('checkpoint_created is written on request only', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery((ctx) => ctx.createCheckpoint({ name: 'a', progressPercent: 1 }), {
      name: 'n',
      taskId: () => 't',
    });
    await task();
    expect(namesOf(await stored(recovery))).toEqual(['task_started', 'task_completed']);
  });

  it('can be followed from a cursor in another process', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery((_ctx, id: string) => id, { name: 'n', taskId: (id) => id });
    for (const id of ['a', 'b', 'c']) await task(id);
    const all = await stored(recovery);
    expect(all).toHaveLength(6);
    const rest = await stored(world.proc().recovery, all[2]?.cursor ?? undefined);
    expect(new Set([...all.slice(0, 3), ...rest].map(({ task_id, seq }) => `${task_id} ${seq}`)).size).toBe(
      6,
    );
    const foreign = recovery.events({ after: 'nonsense' })[Symbol.asyncIterator]();
    expect(await rejectionOf(foreign.next())).toMatchObject({ code: 'INVALID_VALUE' });
  });

  it('a listener that fails breaks neither the task nor the other listeners', async () => {
    const { recovery, heard } = world.proc();
    recovery.on('task_started', () => {
      throw new Error('sync');
    });
    recovery.on('task_completed', async () => Promise.reject(new Error('async')));
    const task = recovery.withRecovery(() => 'fine', { name: 'n' });
    await expect(task()).resolves.toBe('fine');
    expect(namesOf(heard)).toEqual(['task_started', 'task_completed']);
  });

  it('carry neither arguments, nor results, nor messages of errors', async () => {
    const { recovery, heard } = world.proc();
    const task = recovery.withRecovery(
      (_ctx, secret: string) => {
        if (secret.length > 8) throw new Error(secret);
        return secret;
      },
      { name: 'n' },
    );
    await task('secret');
    await rejectionOf(task('top secret'));
    expect(JSON.stringify([...heard, ...(await stored(recovery))])).not.toContain('secret');
  });
});
