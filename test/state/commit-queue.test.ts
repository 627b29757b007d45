import { describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { CommitQueue } from '../../src/state/commit-queue.js';
import type { BatchSource } from '../../src/state/batch-source.js';
import { makeToken } from '../../src/state/token.js';
import type { Batch, Outcome } from '../../src/storage/storage.js';
import { settled } from '../support/manual-clock.js';
import { manualStorage, unavailable } from './manual-storage.js';

const HOME = 'test:0';

function createOf(key: string, notAfter = Number.MAX_SAFE_INTEGER): Batch {
  return { guard: { key, expect: null, next: makeToken(1, key, 0) }, notAfter };
}

class Source implements BatchSource {
  readonly partition: string;
  readonly batch: Batch;
  urgent = false;
  abandoned = false;
  size = 10;
  freezes = 0;
  outcome: Outcome | null = null;
  error: RecoveryError | null = null;

  constructor(key: string, partition: string = HOME) {
    this.partition = partition;
    this.batch = createOf(key);
  }

  freeze(): Batch {
    this.freezes += 1;
    return this.batch;
  }

  settle(outcome: Outcome): void {
    this.outcome = outcome;
  }

  fail(error: RecoveryError): void {
    this.error = error;
  }
}

const sources = (count: number, change: Partial<Source> = {}): Source[] =>
  Array.from({ length: count }, (_, n) => Object.assign(new Source(`k${n}`), change));

const keysOf = (batches: readonly Batch[]): string[] => batches.map(({ guard }) => guard.key);

describe('CommitQueue', () => {
  it('has one call in flight a partition on a blocking storage; while it is out the next list fills', async () => {
    const { store, calls, take } = manualStorage({ partitions: 2, blocking: true });
    const queue = new CommitQueue(store);
    const [first, second, third] = [new Source('a'), new Source('b'), new Source('c')];
    const other = new Source('d', 'test:1');
    queue.push(first);
    await settled();
    queue.push(second);
    queue.push(third);
    queue.push(other);
    await settled();
    expect(calls.map(({ partition, batches }) => [partition, keysOf(batches)])).toEqual([
      [HOME, ['a']],
      ['test:1', ['d']],
    ]);
    await take().apply();
    await settled();
    expect(keysOf(calls[1]?.batches ?? [])).toEqual(['b', 'c']);
    expect(first.outcome?.status).toBe('applied');
    expect(second.outcome).toBeNull();
  });

  it('has two calls in flight a partition on any other, and spreads many batches over them', async () => {
    const { store, calls, take } = manualStorage();
    const queue = new CommitQueue(store);
    const all = sources(40);
    for (const source of all) {
      queue.push(source);
      await settled();
    }
    expect(calls.map(({ batches }) => batches.length)).toEqual([1, 1]);
    await take().apply();
    await settled();
    await take().apply();
    await settled();
    expect(calls.map(({ batches }) => batches.length)).toEqual([20, 18]);
    expect(calls.flatMap(({ batches }) => keysOf(batches))).toEqual(
      all.slice(2).map(({ batch }) => batch.guard.key),
    );
  });

  it('sends renewals first', async () => {
    const { store, take } = manualStorage();
    const queue = new CommitQueue(store);
    queue.push(new Source('out'));
    await settled();
    const [plain] = sources(1);
    queue.push(plain ?? new Source('x'));
    queue.push(Object.assign(new Source('renewal'), { urgent: true }));
    await take().apply();
    await settled();
    expect(keysOf(take().batches)).toEqual(['renewal', 'k0']);
  });

  it('bounds a call in batches', async () => {
    const { store, take } = manualStorage();
    const queue = new CommitQueue(store);
    for (const source of sources(600)) queue.push(source);
    const lengths: number[] = [];
    for (let call = 0; call < 3; call += 1) {
      await settled();
      const next = take();
      lengths.push(next.batches.length);
      await next.apply();
    }
    expect(lengths).toEqual([256, 256, 88]);
  });

  it('bounds a call in size, but lets a large batch through by itself', async () => {
    const { store, take, calls } = manualStorage();
    const queue = new CommitQueue(store);
    for (const source of sources(3, { size: 600_000 })) queue.push(source);
    queue.push(Object.assign(new Source('huge'), { size: 5_000_000 }));
    for (const key of ['k0', 'k1', 'k2', 'huge']) {
      await settled();
      const next = take();
      expect(keysOf(next.batches)).toEqual([key]);
      await next.apply();
    }
    await settled();
    expect(calls).toEqual([]);
  });

  it('sends what has an unknown outcome again, the same batch, before anything else', async () => {
    const { store, clock, take, calls } = manualStorage({ blocking: true });
    const queue = new CommitQueue(store);
    const first = new Source('first');
    queue.push(first);
    await settled();
    queue.push(Object.assign(new Source('renewal'), { urgent: true }));
    const sent = take();
    await sent.loseReply();
    await settled();
    expect(calls).toEqual([]);
    await clock.advance(10);
    const again = take();
    expect(keysOf(again.batches)).toEqual(['first', 'renewal']);
    expect(again.batches[0]).toBe(sent.batches[0]);
    await again.apply();
    await settled();
    expect(first.outcome?.status).toBe('duplicate');
  });

  it('waits longer between tries, up to a second, and begins anew after a success', async () => {
    const { store, clock, take, calls } = manualStorage();
    const queue = new CommitQueue(store);
    queue.push(new Source('a'));
    await settled();
    const pauses: number[] = [];
    for (let tries = 0; tries < 9; tries += 1) {
      take().drop();
      await settled();
      let pause = 0;
      while (calls.length === 0) {
        await clock.advance(10);
        pause += 10;
      }
      pauses.push(pause);
    }
    expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    await take().apply();
    queue.push(new Source('b'));
    await settled();
    take().drop();
    await clock.advance(10);
    expect(keysOf(take().batches)).toEqual(['b']);
  });

  it('does not send abandoned sources again, and tells them', async () => {
    const { store, clock, take, calls } = manualStorage();
    const queue = new CommitQueue(store);
    const [a, b] = [new Source('a'), new Source('b')];
    queue.push(a);
    queue.push(b);
    await settled();
    a.abandoned = true;
    take().drop();
    await settled();
    expect(a.error?.code).toBe('STORAGE_UNAVAILABLE');
    expect(b.error).toBeNull();
    b.abandoned = true;
    await clock.advance(10);
    expect(b.error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', details: { outcome: 'unknown' } });
    expect(calls).toEqual([]);
    await queue.drained();
  });

  it('fails at once what the storage refuses for good, and goes on', async () => {
    const { store, take } = manualStorage();
    const queue = new CommitQueue(store);
    const [a, b] = [new Source('a'), new Source('b')];
    queue.push(a);
    await settled();
    queue.push(b);
    take().fail(new TypeError('adapter bug'));
    await settled();
    expect(a.error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', cause: expect.any(TypeError) });
    await take().apply();
    await settled();
    expect(b.outcome?.status).toBe('applied');
  });

  it('an outcome that the storage left out fails that source only', async () => {
    const { store, take } = manualStorage();
    const queue = new CommitQueue(store);
    const [a, b] = [new Source('a'), new Source('b')];
    queue.push(a);
    queue.push(b);
    await settled();
    take().answer({ nowMs: 1, outcomes: [{ status: 'applied', observed: [] }] });
    await settled();
    expect(a.outcome?.status).toBe('applied');
    expect(b.error?.code).toBe('STORAGE_UNAVAILABLE');
  });

  it('drained() resolves when nothing is queued or in flight', async () => {
    const { store, take } = manualStorage();
    const queue = new CommitQueue(store);
    await queue.drained();
    let drained = false;
    queue.push(new Source('a'));
    void queue.drained().then(() => (drained = true));
    await settled();
    expect(drained).toBe(false);
    await take().apply();
    await settled();
    expect(drained).toBe(true);
  });

  it('close() tells all that wait, sends nothing again and takes nothing more', async () => {
    const { store, clock, take, calls } = manualStorage();
    const queue = new CommitQueue(store);
    const [inFlight, waiting, late] = [new Source('a'), new Source('b'), new Source('c')];
    queue.push(inFlight);
    await settled();
    queue.push(waiting);
    const error = new RecoveryError('SHUT_DOWN', 'over');
    queue.close(error);
    expect(waiting.error).toBe(error);
    take().drop();
    await clock.advance(5_000);
    queue.push(late);
    expect(inFlight.error?.code).toBe('STORAGE_UNAVAILABLE');
    expect(late.error?.code).toBe('SHUT_DOWN');
    expect(calls).toEqual([]);
  });

  it('close() during a pause between tries ends the pause for good', async () => {
    const { store, clock, take, calls } = manualStorage();
    const queue = new CommitQueue(store);
    const source = new Source('a');
    queue.push(source);
    await settled();
    take().drop();
    await settled();
    const error = new RecoveryError('SHUT_DOWN', 'over');
    queue.close(error);
    await clock.advance(5_000);
    expect(source.error).toBe(error);
    expect(calls).toEqual([]);
  });

  it('a batch of its own is sent again until its notAfter has passed; then the outcome is unknown', async () => {
    const { store, clock, take, calls } = manualStorage();
    const queue = new CommitQueue(store);
    const done = queue.commit(HOME, createOf('a', clock.wallMs() + 100)).catch((error: unknown) => error);
    await settled();
    for (let tries = 0; tries < 50; tries += 1) {
      if (calls.length > 0) take().fail(unavailable());
      await clock.advance(10);
    }
    await expect(done).resolves.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      details: { outcome: 'unknown' },
    });
  });

  it('a batch of its own resolves with outcome and time, and whether it was sent again', async () => {
    const { store, clock, take } = manualStorage();
    const queue = new CommitQueue(store);
    for (const [status, again] of Object.entries({ applied: false, duplicate: true })) {
      const done = queue.commit(HOME, createOf(status));
      await settled();
      if (again) await take().loseReply();
      await clock.advance(10);
      await take().apply();
      await expect(done).resolves.toMatchObject({ outcome: { status }, nowMs: clock.wallMs(), again });
    }
  });
});
