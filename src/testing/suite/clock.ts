/** S4: one clock, the storage's own, read once a call. */
import assert from 'node:assert/strict';
import { apply, at, change, commitOne, creation, fault, pause, readOne, verdict } from './bench.js';
import type { Bench, LawCase } from './bench.js';

const HOUR = 3_600_000;
/** For how long a case keeps the store from answering. */
const FROZEN_MS = 60;

async function fromNow(bench: Bench): Promise<void> {
  const { nowMs } = await apply(
    bench,
    creation('head', 't1', {
      set: [
        { key: 'head', fields: { at: { fromNow: 0 }, later: { fromNow: HOUR } } },
        { key: 'other', fields: { before: { fromNow: -HOUR } } },
      ],
      index: [{ index: 'i', id: 'x', score: { fromNow: 5 } }],
      append: [{ at: { fromNow: 0 }, later: { fromNow: 7 } }],
    }),
  );
  const head = await readOne(bench, 'head');
  assert.equal(head?.get('at'), String(nowMs));
  assert.equal(head?.get('later'), String(nowMs + HOUR));
  assert.equal((await readOne(bench, 'other'))?.get('before'), String(nowMs - HOUR));
  const { entries } = await bench.storage.range(bench.partition, 'i', { limit: 10 });
  assert.deepEqual(entries, [{ id: 'x', score: nowMs + 5 }]);
  const { events } = await bench.storage.events(bench.partition, { after: null, limit: 10 });
  assert.equal(at(events, 0).fields.get('at'), String(nowMs));
  assert.equal(at(events, 0).fields.get('later'), String(nowMs + 7));
}

async function oneTime(bench: Bench): Promise<void> {
  const fields = { at: { fromNow: 0 } };
  const keys = Array.from({ length: 20 }, (_, i) => `head-${i}`);
  const { nowMs } = await apply(
    bench,
    ...keys.map((key) => creation(key, 't1', { set: [{ key, fields }], append: [fields] })),
  );
  const { records } = await bench.storage.read(bench.partition, keys);
  for (const record of records) assert.equal(record?.get('at'), String(nowMs));
  const { events } = await bench.storage.events(bench.partition, { after: null, limit: 100 });
  for (const event of events) assert.equal(event.fields.get('at'), String(nowMs));
}

async function forward(bench: Bench): Promise<void> {
  const { partition } = bench;
  const seen: number[] = [];
  for (let i = 0; i < 20; i += 1) {
    const storage = i % 2 === 0 ? bench.storage : bench.second;
    seen.push((await storage.read(partition, ['head'])).nowMs);
    seen.push((await storage.commit(partition, [creation(`head-${i}`, 't1')])).nowMs);
    seen.push((await storage.range(partition, 'i', { limit: 1 })).nowMs);
  }
  for (const nowMs of seen) assert.ok(Number.isSafeInteger(nowMs), `${nowMs} is no whole number of ms`);
  assert.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
    'read, commit and range do not tell one clock',
  );
}

/** Commits while the store doesn't answer, and lets it answer after a while. */
async function afterTheLock(bench: Bench): Promise<void> {
  const freeze = fault(bench, 'freeze');
  const thaw = fault(bench, 'thaw');
  await apply(bench, creation('a', 'a1'));
  const { nowMs: before } = await bench.storage.read(bench.partition, ['a']);
  await freeze();
  const stale = commitOne(
    bench,
    {
      ...change('a', 'a1', 'a2', { set: [{ key: 'a', fields: { at: { fromNow: 0 } } }] }),
      notAfter: before + FROZEN_MS / 2,
    },
    { deadlineMs: 5000 },
  );
  const settled = stale.then(
    (reply) => reply,
    (error: unknown) => ({ error }),
  );
  await pause(FROZEN_MS);
  await thaw();
  const reply = await settled;
  if ('error' in reply) throw reply.error;
  assert.ok(reply.nowMs >= before + FROZEN_MS / 2, 'the time was read before the lock was held');
  assert.equal(verdict(reply.outcome), 'expired', 'notAfter was judged before the lock was held');
}

/** The cases of S4. */
export const clockCases: readonly LawCase[] = [
  { law: 'S4', title: "fromNow is the reply's time, in fields, scores and events", run: fromNow },
  { law: 'S4', title: 'all batches of a call have one time', run: oneTime },
  { law: 'S4', title: 'read, commit and range tell one clock, which goes forward', run: forward },
  {
    law: 'S4',
    title: 'bounds from now are of the time of the call',
    async run(bench) {
      const { partition, storage } = bench;
      await apply(
        bench,
        creation('head', 't1', {
          index: [
            { index: 'i', id: 'past', score: { fromNow: -HOUR } },
            { index: 'i', id: 'now', score: { fromNow: 0 } },
            { index: 'i', id: 'future', score: { fromNow: HOUR } },
          ],
        }),
      );
      const due = await storage.range(partition, 'i', { to: { fromNow: 0 }, limit: 10 });
      assert.deepEqual(
        due.entries.map(({ id }) => id),
        ['past', 'now'],
      );
      const recent = { from: { fromNow: -HOUR / 2 }, to: { fromNow: HOUR / 2 } };
      const near = await storage.range(partition, 'i', { ...recent, limit: 10, reverse: true });
      assert.deepEqual(
        near.entries.map(({ id }) => id),
        ['now'],
      );
      assert.equal(await storage.count(partition, 'i', { to: { fromNow: 0 } }), 2);
      assert.equal(await storage.count(partition, 'i', { from: { fromNow: HOUR / 2 } }), 1);
      assert.equal(await storage.count(partition, 'i', recent), 1);
    },
  },
  {
    law: 'S4',
    title: 'the time is read, and notAfter judged, when the call gets its turn',
    run: afterTheLock,
  },
];
