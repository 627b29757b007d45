/** S6: the event log. */
import assert from 'node:assert/strict';
import { apply, at, change, creation, eventTexts, pause, recordOf, verdicts } from './bench.js';
import type { Bench, LawCase } from './bench.js';
import type { Batch, EventPage, Storage, StoredEvent } from '../../storage/storage.js';

const WRITERS = 4;
const EACH = 25;
const SMALL_LOG = 10;
/** Far more than the bound; adapters may keep somewhat more than it, because they trim in blocks. */
const MANY = 500;
const CHUNK = 5;

function event(n: string): Pick<Batch, 'append'> {
  return { append: [{ n }] };
}

function numbers(events: readonly StoredEvent[]): (string | undefined)[] {
  return events.map(({ fields }) => fields.get('n'));
}

async function appendMany(bench: Bench, from: number, to: number): Promise<void> {
  const batches = Array.from({ length: to - from }, (_, i) =>
    creation(`head-${from + i}`, 't1', event(String(from + i))),
  );
  await apply(bench, ...batches);
}

async function write(storage: Storage, partition: string, writer: number): Promise<void> {
  for (let i = 0; i < EACH; i += 1) {
    const key = `w${writer}-${i}`;
    await storage.commit(partition, [creation(key, 't1', event(`${writer}:${i}`))]);
  }
}

/** Follows the log while several write, and must meet every event once, in the log's order. */
async function follow(bench: Bench): Promise<void> {
  const { partition, storage, second } = bench;
  let done = false;
  const met: (string | undefined)[] = [];
  const read = async (): Promise<void> => {
    let cursor: string | null = null;
    for (;;) {
      const last = done;
      const page = await second.events(partition, { after: cursor, limit: 7 });
      assert.equal(page.truncated, false);
      met.push(...numbers(page.events));
      cursor = page.events.at(-1)?.cursor ?? cursor;
      if (last && page.events.length === 0) return;
      assert.ok(met.length <= WRITERS * EACH, 'the reader met more events than there are');
      await pause(0);
    }
  };
  const writers = Array.from({ length: WRITERS }, (_, w) =>
    write(w % 2 === 0 ? storage : second, partition, w),
  );
  const writing = Promise.all(writers).finally(() => {
    done = true;
  });
  await Promise.all([writing, read()]);
  assert.deepEqual(met, await eventTexts(bench, 'n'), 'the reader missed an event, or met one twice');
  for (let w = 0; w < WRITERS; w += 1) {
    const own = met.filter((n) => n?.startsWith(`${w}:`));
    assert.deepEqual(
      own,
      Array.from({ length: EACH }, (_, i) => `${w}:${i}`),
    );
  }
}

async function appliedOnly(bench: Bench): Promise<void> {
  const first = creation('a', 'a1', event('1'));
  await apply(bench, first, creation('text', 'x1', { set: [{ key: 'no-counter', fields: { n: 'x' } }] }));
  const given = await verdicts(
    bench,
    first,
    change('a', 'other', 'a2', event('conflict')),
    { ...creation('b', 'b1', event('expired')), notAfter: 1 },
    change('text', 'x1', 'x2', {
      ...event('refused'),
      increment: [{ key: 'no-counter', field: 'n', by: 1 }],
    }),
    creation('c', 'c1', { append: [{ n: '2' }, { n: '3' }] }),
  );
  assert.deepEqual(given, ['duplicate', 'conflict with a1', 'expired', 'refused NOT_A_NUMBER', 'applied']);
  assert.deepEqual(await eventTexts(bench, 'n'), ['1', '2', '3']);
}

async function bounded(bench: Bench): Promise<void> {
  for (let n = 0; n < MANY; n += CHUNK) await appendMany(bench, n, n + CHUNK);
  const kept = await eventTexts(bench, 'n');
  assert.ok(kept.length >= SMALL_LOG, `${kept.length} events kept, of at least ${SMALL_LOG}`);
  assert.ok(kept.length <= MANY / 2, `${kept.length} events of ${MANY} kept, with a bound of ${SMALL_LOG}`);
  const expected = Array.from({ length: kept.length }, (_, i) => String(MANY - kept.length + i));
  assert.deepEqual(kept, expected);
}

async function truncation(bench: Bench): Promise<void> {
  const { partition, storage } = bench;
  const all = async (after: string | null): Promise<EventPage> =>
    storage.events(partition, { after, limit: 2 * MANY });
  const met: StoredEvent[] = [];
  for (let n = 0; n < MANY; n += CHUNK) {
    await appendMany(bench, n, n + CHUNK);
    met.push(...(await all(null)).events.slice(-CHUNK));
  }
  // Who is not told must meet all that came later; the newest events are kept for certain.
  const kept = await all(null);
  assert.equal(kept.truncated, false, 'who starts at the oldest event kept has missed nothing');
  const oldest = MANY - kept.events.length;
  assert.ok(oldest > 0, 'nothing was trimmed');
  const places = [0, 1, oldest - 2, oldest - 1, oldest, oldest + 1, MANY - SMALL_LOG, MANY - 1];
  for (const place of places.filter((n) => n >= 0)) {
    const page = await all(at(met, place).cursor);
    assert.equal(page.truncated, place < oldest, `a cursor at event ${place}, with all kept from ${oldest}`);
    const expected = Array.from({ length: MANY - Math.max(place + 1, oldest) }, (_, i) =>
      String(Math.max(place + 1, oldest) + i),
    );
    assert.deepEqual(numbers(page.events), expected);
  }
}

/** The cases of S6. */
export const eventCases: readonly LawCase[] = [
  { law: 'S6', title: 'an event exists if and only if its batch applied', run: appliedOnly },
  {
    law: 'S6',
    title: 'events keep their fields and the order of commits',
    async run(bench) {
      const { partition, storage } = bench;
      await apply(
        bench,
        creation('a', 'a1', { append: [{ kind: 'x', token: 'any', text: '' }, { kind: 'y' }] }),
      );
      await apply(bench, change('a', 'a1', 'a2', { append: [{ kind: 'z' }] }));
      const { events } = await storage.events(partition, { after: null, limit: 10 });
      assert.deepEqual(
        events.map(({ fields }) => fields),
        [recordOf({ kind: 'x', token: 'any', text: '' }), recordOf({ kind: 'y' }), recordOf({ kind: 'z' })],
      );
      assert.equal(new Set(events.map(({ cursor }) => cursor)).size, 3, 'cursors differ');
    },
  },
  {
    law: 'S6',
    title: 'a cursor continues behind its event, on any connection',
    async run(bench) {
      const { partition, second, storage } = bench;
      await appendMany(bench, 0, 10);
      const first = await storage.events(partition, { after: null, limit: 4 });
      assert.deepEqual(numbers(first.events), ['0', '1', '2', '3']);
      const after = at(first.events, 1).cursor;
      const rest = await second.events(partition, { after, limit: 3 });
      assert.deepEqual(numbers(rest.events), ['2', '3', '4']);
      assert.equal(rest.truncated, false);
    },
  },
  {
    law: 'S6',
    title: 'a reader at the end meets what comes later',
    async run(bench) {
      const { partition, storage } = bench;
      assert.deepEqual(await storage.events(partition, { after: null, limit: 5 }), {
        events: [],
        truncated: false,
      });
      await appendMany(bench, 0, 3);
      const all = await storage.events(partition, { after: null, limit: 5 });
      const after = at(all.events, 2).cursor;
      assert.deepEqual(await storage.events(partition, { after, limit: 5 }), {
        events: [],
        truncated: false,
      });
      await appendMany(bench, 3, 5);
      const later = await storage.events(partition, { after, limit: 5 });
      assert.deepEqual(numbers(later.events), ['3', '4']);
      assert.equal(later.truncated, false);
    },
  },
  { law: 'S6', title: 'a reader misses nothing of several writers', run: follow },
  { law: 'S6', title: 'the log is bounded and keeps the newest', maxEvents: SMALL_LOG, run: bounded },
  {
    law: 'S6',
    title: 'a reader whose event is no longer kept is told',
    maxEvents: SMALL_LOG,
    run: truncation,
  },
];
