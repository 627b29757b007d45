import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import type { Batch } from '../../src/storage/storage.js';
import { trapUnhandledRejections } from '../runtime/harness.js';
import { settled } from '../support/manual-clock.js';
import { unavailable } from './manual-storage.js';
import { HOME, setUp } from './writer-lab.js';

const codeOf = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'resolved',
    (error: unknown) => (error instanceof RecoveryError ? error.code : error),
  );

trapUnhandledRejections();

describe('RecordWriter', () => {
  it('a write that nobody waits for ends nothing: neither when the record is lost, nor afterwards', async () => {
    const { writer, begin, write } = setUp();
    await begin();
    void write('a', '1');
    await settled();
    writer.kill(new RecoveryError('LEASE_LOST', 'gone'));
    void write('b', '2');
    await new Promise((resolve) => void setImmediate(resolve));
    expect(await codeOf(write('c', '3'))).toBe('LEASE_LOST');
  });

  it('resolves with the storage time once the batch is durable, not before', async () => {
    const { writer, begin, write, take, clock } = setUp();
    await begin();
    let at = 0;
    void write('a', '1').then((nowMs) => (at = nowMs));
    await settled();
    expect(at).toBe(0);
    await take().apply();
    await settled();
    expect(at).toBe(clock.wallMs());
    expect(writer.abandoned).toBe(false);
  });

  it('gathers concurrent writes into one batch', async () => {
    const { begin, write, take, calls } = setUp();
    await begin();
    const all = [write('a', '1'), write('b', '2'), write('a', '3')];
    await settled();
    const call = take();
    expect(call.batches[0]?.set).toEqual([{ key: 'k', fields: { a: '3', b: '2' } }]);
    await call.apply();
    await Promise.all(all);
    expect(calls).toEqual([]);
  });

  it('sends a batch of unknown outcome again byte for byte, while later writes wait for the next', async () => {
    const { begin, write, take, calls, clock, field, writer } = setUp();
    await begin();
    const first = write('a', '1');
    await settled();
    const sent = take();
    const before = JSON.stringify(sent.batches);
    const second = write('a', '2');
    writer.note((draft) => draft.set('k', { b: 'noted' }));
    await sent.loseReply();
    await settled();
    const third = write('c', '3');
    await clock.advance(10);
    const again = take();
    expect(JSON.stringify(again.batches)).toBe(before);
    await again.apply();
    await first;
    await settled();
    const next = take();
    expect(next.batches[0]?.guard).toEqual({ key: 'k', expect: '1.n.1', next: '1.n.2' });
    expect(next.batches[0]?.set).toEqual([{ key: 'k', fields: { a: '2', b: 'noted', c: '3' } }]);
    await next.apply();
    await Promise.all([second, third]);
    expect([await field('a'), await field('b'), await field('c')]).toEqual(['2', 'noted', '3']);
    expect(calls).toEqual([]);
  });

  it('has one batch out at a time', async () => {
    const { begin, write, writer, calls } = setUp();
    await begin();
    void write('a', '1');
    await settled();
    void write('a', '2');
    writer.renew();
    await settled();
    expect(calls).toHaveLength(1);
    expect(calls[0]?.batches).toHaveLength(1);
  });

  it('a note asks for no commit and goes with the next one', async () => {
    const { begin, writer, calls, clock, take, field } = setUp();
    await begin();
    writer.note((draft) => draft.set('k', { progress: '5' }));
    await clock.advance(10_000);
    expect(calls).toEqual([]);
    writer.renew();
    await settled();
    await take().apply();
    expect(await field('progress')).toBe('5');
  });

  it('a commit brings the renewal along when a third of the lease is gone, and observes the control record', async () => {
    const { begin, write, clock, take, seen, writer } = setUp();
    await begin();
    const early = write('a', '1');
    await settled();
    expect(take().batches[0]?.observe).toBeUndefined();
    writer.kill(new RecoveryError('SHUT_DOWN', 'enough of it'));
    await codeOf(early);
    const late = setUp();
    await late.begin();
    await late.clock.advance(301);
    const written = late.write('a', '1');
    await late.clock.advance(50);
    const call = late.take();
    expect(call.batches[0]).toMatchObject({
      observe: ['control'],
      set: [{ fields: { lease: { fromNow: 900 } } }],
    });
    await call.apply();
    await written;
    // From the send time, not from the answer.
    expect(late.seen.renewals).toEqual([301]);
    expect(late.writer.renewedMs).toBe(301);
    expect([clock.monotonicMs(), writer.renewedMs, seen.renewals.length]).toEqual([0, 0, 0]);
  });

  it('a renewal is asked for once; the send time of its first try counts', async () => {
    const { begin, writer, take, calls, clock, seen } = setUp();
    await begin();
    await clock.advance(400);
    writer.renew();
    writer.renew();
    await settled();
    writer.renew();
    take().drop();
    await clock.advance(10);
    await take().apply();
    await settled();
    expect(calls).toEqual([]);
    expect(seen.renewals).toEqual([400]);
  });

  it('finish() takes no renewal along, and nothing comes after it', async () => {
    const { begin, writer, take, calls, clock, field } = setUp();
    await begin();
    await clock.advance(1_000);
    writer.renew();
    const end = writer.finish(
      (draft) => draft.set('k', { status: 'completed' }),
      () => 'ended',
    );
    writer.renew();
    writer.note((draft) => draft.set('k', { progress: '1' }));
    expect(await codeOf(writer.write(() => {}))).toBe('CONTEXT_CLOSED');
    await settled();
    const call = take();
    expect(call.batches[0]?.observe).toBeUndefined();
    expect(call.batches[0]?.set).toEqual([{ key: 'k', fields: { status: 'completed' } }]);
    await call.apply();
    expect(await end).toBe('ended');
    expect(await field('lease')).toBeUndefined();
    expect(calls).toEqual([]);
  });

  it('a conflict ends the chain: that write and all later ones are rejected with the reason', async () => {
    const { begin, write, take, memory, seen, calls, writer } = setUp();
    await begin();
    const thief: Batch = {
      guard: { key: 'k', expect: '1.n.0', next: '2.m.0' },
      notAfter: Number.MAX_SAFE_INTEGER,
    };
    await memory.commit(HOME, [thief]);
    const [first, second] = [write('a', '1'), codeOf(write('a', '2'))];
    const waiting = codeOf(first);
    await settled();
    await take().apply();
    expect([await waiting, await second]).toEqual(['LEASE_LOST', 'LEASE_LOST']);
    expect(seen.lost).toEqual(['2.m.0']);
    expect(await codeOf(write('a', '3'))).toBe('LEASE_LOST');
    writer.renew();
    await settled();
    expect(calls).toEqual([]);
  });

  it('never uses the token of a refused batch again, or its late duplicate could pass', async () => {
    const { begin, write, take } = setUp();
    await begin();
    const refused = codeOf(write('token', 'reserved'));
    await settled();
    const bad = take();
    await bad.apply();
    expect(await refused).toBe('STORAGE_REFUSED');
    const fine = write('a', '1');
    await settled();
    const call = take();
    expect(call.batches[0]?.guard.expect).toBe(bad.batches[0]?.guard.expect);
    expect(call.batches[0]?.guard.next).not.toBe(bad.batches[0]?.guard.next);
    await call.apply();
    await fine;
  });

  it('a full storage is told as such, and retryable', async () => {
    const { begin, write, take } = setUp();
    await begin();
    const written = write('a', '1');
    await settled();
    take().answer({
      nowMs: 1,
      outcomes: [{ status: 'refused', code: 'STORAGE_FULL', message: 'no space.' }],
    });
    await expect(written).rejects.toMatchObject({ code: 'STORAGE_FULL', retryable: true });
  });

  it('kill() rejects what waits and sends nothing again', async () => {
    const { begin, write, take, clock, calls, writer } = setUp();
    await begin();
    const all = [codeOf(write('a', '1'))];
    await settled();
    all.push(codeOf(write('a', '2')));
    writer.kill(new RecoveryError('LEASE_UNCERTAIN', 'silence'));
    take().fail(unavailable());
    await clock.advance(10_000);
    expect(await Promise.all(all)).toEqual(['LEASE_UNCERTAIN', 'LEASE_UNCERTAIN']);
    expect(calls).toEqual([]);
  });
});

type Step = 'write' | 'note' | 'renew' | 'apply' | 'drop' | 'lose';

it('property: whatever is lost on the way, the chain holds and acknowledged writes are there, in order', async () => {
  const steps = fc.array(fc.constantFrom<Step>('write', 'note', 'renew', 'apply', 'drop', 'lose'), {
    maxLength: 40,
  });
  await fc.assert(
    fc.asyncProperty(steps, async (plan) => {
      const { begin, write, writer, calls, take, clock, field, seen } = setUp();
      await begin();
      let count = 0;
      let acknowledged = 0;
      const expected = new Map<string, string>();
      const fate = async (step: Step): Promise<void> => {
        if (calls.length === 0) return;
        const call = take();
        for (const { guard } of call.batches) {
          // A batch always expects the same token as before when it comes again, and no token stands for two batches.
          const text = JSON.stringify(call.batches);
          expect(expected.get(guard.next ?? '') ?? text).toBe(text);
          expected.set(guard.next ?? '', text);
        }
        if (step === 'apply') await call.apply();
        else if (step === 'lose') await call.loseReply();
        else call.drop();
        await clock.advance(2_000);
      };
      for (const step of plan) {
        if (step === 'write') {
          count += 1;
          const mine = count;
          void write('n', String(mine)).then(() => (acknowledged = Math.max(acknowledged, mine)));
          void writer.write((draft) => draft.append({ event: String(mine) }));
        } else if (step === 'note') writer.note((draft) => draft.set('k', { noted: String(count) }));
        else if (step === 'renew') writer.renew();
        else await fate(step);
        await settled();
        if (acknowledged > 0) expect(Number(await field('n'))).toBeGreaterThanOrEqual(acknowledged);
      }
      while (calls.length > 0) await fate('apply');
      expect(acknowledged).toBe(count);
      expect(await field('n')).toBe(count === 0 ? undefined : String(count));
      expect(seen.lost).toEqual([]);
    }),
    { numRuns: 50 },
  );
});
