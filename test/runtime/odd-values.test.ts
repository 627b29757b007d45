/** What users may throw, return and forget, and records that something else has written over. */
import { describe, expect, it } from 'vitest';
import type { RecoveryEvent } from '../../src/domain/events.js';
import { isRecoveryError, messageOf, RecoveryError } from '../../src/errors.js';
import { Emitter } from '../../src/runtime/emitter.js';
import { storedErrorOf } from '../../src/runtime/task-errors.js';
import { indexes, keys } from '../../src/state/keys.js';
import { TOKEN_FIELD } from '../../src/storage/storage.js';
import type { Batch, Storage } from '../../src/storage/storage.js';
import { rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';

trapUnhandledRejections();

const HOME = 'rekindle:0';

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function unreadable(): Error {
  return Object.defineProperty(new Error('x'), 'message', {
    get() {
      throw new Error('not this either');
    },
  });
}

/** A storage that answers some batches and reads otherwise. */
function tampered(
  inner: Storage,
  refuse: (batch: Batch) => 'STORAGE_FULL' | 'WRONG_TYPE' | null,
  unreadableKey: () => string | null = () => null,
): Storage {
  return {
    ...inner,
    read: async (partition, wanted, fields, options) => {
      const bad = unreadableKey();
      if (bad !== null && wanted.includes(bad)) throw new RecoveryError('CORRUPT_RECORD', 'another type');
      return inner.read(partition, wanted, fields, options);
    },
    commit: async (partition, batches, options) => {
      const codes = batches.map(refuse);
      const sound = batches.filter((_, at) => codes[at] === null);
      const { nowMs, outcomes } = await inner.commit(partition, sound, options);
      const left = [...outcomes];
      return {
        nowMs,
        outcomes: codes.flatMap((code) =>
          code === null ? left.splice(0, 1) : [{ status: 'refused', code, message: 'no.' } as const],
        ),
      };
    },
  };
}

describe('odd values', () => {
  it.each([
    ['a getter that throws', unreadable],
    ['a revoked proxy', revoked],
  ])('%s has a text, and no code', (_, make) => {
    expect(messageOf(make())).toBe('a value that cannot be turned into text');
    expect(isRecoveryError(make())).toBe(false);
    expect(storedErrorOf(make(), { limits: { errorBytes: 100 }, redact: null }).message).toBe(
      'a value that cannot be turned into text',
    );
  });

  it.each([
    ['a getter that throws', unreadable],
    ['a revoked proxy', revoked],
  ])('a task that throws %s fails, and a listener that does harms nobody', async (_, make) => {
    const world = new World();
    const { recovery } = world.proc();
    recovery.on('task_started', () => {
      throw make();
    });
    const task = recovery.withRecovery(
      () => {
        throw make();
      },
      { name: 'odd', taskId: () => 'x' },
    );
    // Told as it was thrown, so it is not handed on by another promise here.
    const told = await world.until(
      task().then(
        () => 'nothing',
        () => 'its error',
      ),
    );
    expect(told).toBe('its error');
    expect(await recovery.tasks.get('x')).toMatchObject({ status: 'failed' });
    await world.end();
  });

  it('a listener that signs on again while it is told is told once', () => {
    const emitter = new Emitter(() => 0);
    let told = 0;
    let off = (): void => {};
    const listen = (): void => {
      off = emitter.on('alert', () => {
        off();
        told += 1;
        if (told < 100) listen();
      });
    };
    listen();
    emitter.alert('x');
    expect(told).toBe(1);
    emitter.alert('x');
    expect(told).toBe(2);
  });

  it('an async taskId is refused, and what it rejects with ends nothing', async () => {
    const world = new World();
    const { recovery } = world.proc();
    const taskId = (): Promise<string> => Promise.reject(new Error('late'));
    const task: () => Promise<unknown> = Reflect.apply(recovery.withRecovery, null, [
      async () => 1,
      { name: 'odd', taskId },
    ]);
    expect(await rejectionOf(task())).toMatchObject({ code: 'INVALID_ID' });
    await world.end();
  });

  it('calls on a context that nobody waits for end nothing', async () => {
    const world = new World();
    const { recovery } = world.proc();
    const codes: unknown[] = [];
    const task = recovery.withRecovery(
      async (ctx) => {
        await untilAborted(ctx).catch(() => {});
        void ctx.updateProgress(50);
        void ctx.createCheckpoint({ name: 'late', progressPercent: 60 });
        codes.push(await rejectionOf(ctx.updateProgress(70)));
      },
      { name: 'odd', taskId: () => 'x' },
    );
    const { result } = await world.until(task.start());
    await world.end();
    await result;
    expect(codes).toEqual([expect.objectContaining({ code: 'SHUT_DOWN' })]);
  });
});

describe('records that something else has written over', () => {
  it('a refused write to what all share quarantines nobody', async () => {
    const world = new World();
    let broken = true;
    const over = tampered(world.memory, ({ append }) =>
      broken && append?.[0]?.['event'] === 'recovery_started' ? 'WRONG_TYPE' : null,
    );
    const first = world.proc();
    await world.until(first.recovery.withRecovery(untilAborted, { name: 'odd', taskId: () => 'x' }).start());
    first.crash();
    const { recovery } = world.proc({ born: '2', over });
    recovery.withRecovery(async () => 1, { name: 'odd', taskId: () => 'x' });
    await world.until((await world.until(recovery.recover())).finished);
    expect(await recovery.tasks.counts('odd')).toMatchObject({ orphaned: 1 });
    broken = false;
    await world.until((await world.until(recovery.recover())).finished);
    expect(await recovery.tasks.counts('odd')).toMatchObject({ orphaned: 0, completed: 1 });
    await world.end();
  });

  it('a worker record of another type stops no recovery', async () => {
    const world = new World();
    const first = world.proc();
    await world.until(first.recovery.withRecovery(untilAborted, { name: 'odd', taskId: () => 'x' }).start());
    first.crash();
    const { entries } = await world.memory.range(HOME, indexes.workers, { limit: 10 });
    const over = tampered(
      world.memory,
      () => null,
      () => keys.worker(entries[0]?.id ?? ''),
    );
    const { recovery } = world.proc({ born: '2', over });
    const task = recovery.withRecovery(async () => 1, { name: 'odd', taskId: () => 'x' });
    expect(await world.until(rejectionOf(task()))).toMatchObject({ code: 'TASK_RUNNING_ELSEWHERE' });
    await world.clock.advance(4_000);
    await world.until((await world.until(recovery.recover())).finished);
    expect(await recovery.tasks.get('x')).toMatchObject({ status: 'completed' });
    await world.end();
  });

  it('a corrupt head that is found by its owner first is out of all queues in the end', async () => {
    const world = new World();
    const first = world.proc();
    await world.until(first.recovery.withRecovery(untilAborted, { name: 'odd', taskId: () => 'x' }).start());
    first.crash();
    const key = keys.head('x');
    const { nowMs, records } = await world.memory.read(HOME, [key]);
    const guard = { key, expect: records[0]?.get(TOKEN_FIELD) ?? null, next: '1.garbage.0' };
    await world.memory.commit(HOME, [
      { guard, notAfter: nowMs + 1, set: [{ key, fields: { status: 'odd' } }] },
    ]);
    const { recovery, heard } = world.proc({ born: '2' });
    recovery.withRecovery(async () => 1, { name: 'odd', taskId: () => 'x' });
    for (let pass = 0; pass < 4; pass += 1) {
      await world.until((await world.until(recovery.recover())).finished);
      await world.clock.advance(4_000);
    }
    expect(await recovery.tasks.counts('odd')).toMatchObject({ processing: 0, orphaned: 0 });
    const isAlert = ({ details }: RecoveryEvent): boolean => details['kind'] === 'corrupt_record';
    expect(heard.filter(isAlert)).toHaveLength(2);
    await world.end();
  });

  it('marks that a refused write was to clear are cleared by the next one', async () => {
    const world = new World();
    let full = false;
    const over = tampered(world.memory, () => (full ? 'STORAGE_FULL' : null));
    const { recovery } = world.proc({ over, stuckAfterMs: 500 });
    const task = recovery.withRecovery(
      async (ctx) => {
        await ctx.updateProgress(50);
        await world.clock.advance(1_500);
        expect(await world.memory.count(HOME, indexes.stuck('odd'))).toBe(1);
        full = true;
        await rejectionOf(ctx.createCheckpoint({ name: 'a', progressPercent: 55 }));
        full = false;
        await ctx.createCheckpoint({ name: 'b', progressPercent: 60 });
      },
      { name: 'odd', taskId: () => 'x', checkpointFrequency: 25 },
    );
    await world.until(task());
    expect(await world.memory.count(HOME, indexes.stuck('odd'))).toBe(0);
    expect(await recovery.checkpoints.latest('x')).toMatchObject({ name: 'b', progressPercent: 60 });
    await world.end();
  });
});
