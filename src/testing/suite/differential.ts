/** Random commands, run on the adapter and on the memory storage, must come to the same. */
import assert from 'node:assert/strict';
import { MemoryPartition, storageOver } from '../../storage/memory.js';
import type { Batch, EventPage, Outcome, RangeQuery, Storage } from '../../storage/storage.js';
import { FAR, fastCheck, propertyOptions } from './bench.js';
import type { Bench, LawCase } from './bench.js';

type Arbitrary<T> = import('fast-check').Arbitrary<T>;
type FastCheck = typeof import('fast-check');

const KEYS = ['a', 'b', 'c', '__proto__'] as const;
const FIELDS = ['n', 'x', 'constructor'] as const;
const IDS = ['p', 'q', 'r', '\uFFFF', '😀'] as const;
const COUNTERS = ['counter', 'tally'] as const;
/** Stand for the token that the guard has when the batch is sent, and for one that was never used. */
const CURRENT = 'current';
const FRESH = 'fresh';
/** Tokens that some batches set and others expect, so that duplicates and conflicts happen. */
const TOKENS = ['t1', 't2'] as const;
const INDEXES = ['i', 'j'] as const;
/** More than a run appends: how much more than its bound a log keeps is up to the adapter. */
const MAX_EVENTS = 10_000;

interface Count {
  readonly from?: number;
  readonly to?: number;
}

type Command =
  | { readonly do: 'commit'; readonly batches: readonly Batch[] }
  | { readonly do: 'read'; readonly keys: readonly string[]; readonly fields: readonly string[] | undefined }
  | { readonly do: 'range'; readonly index: string; readonly query: RangeQuery }
  | { readonly do: 'count'; readonly index: string; readonly bounds: Count }
  | { readonly do: 'events'; readonly back: number | null; readonly limit: number };

function batches(fc: FastCheck): Arbitrary<Batch[]> {
  const key = fc.constantFrom(...KEYS);
  const field = fc.constantFrom(...FIELDS);
  const anyKey = fc.constantFrom(...KEYS, ...COUNTERS);
  const token = fc.constantFrom(null, ...TOKENS);
  const mostly = (usual: string): Arbitrary<string | null> =>
    fc.oneof({ weight: 7, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: token });
  const next = fc.oneof(
    { weight: 7, arbitrary: mostly(FRESH) },
    { weight: 1, arbitrary: fc.constant(CURRENT) },
  );
  const fromNow = fc.record({ fromNow: fc.constantFrom(-1000, 0, 1000) }, { noNullPrototype: true });
  const value = fc.oneof(
    fc.constantFrom('0', '7', '-3', '007', 'text', '', 'a\0b', '999999999999999'),
    fromNow,
  );
  const fields = fc.dictionary(field, value, { minKeys: 1, maxKeys: 3, noNullPrototype: true });
  const score = fc.oneof(fc.constantFrom(-1, 0, 1, 2.5, 3), fromNow, fc.constant(null));
  const list = <T>(item: Arbitrary<T>): Arbitrary<T[]> => fc.array(item, { maxLength: 2 });
  const batch: Arbitrary<Batch> = fc.record(
    {
      guard: fc.record({ key, expect: mostly(CURRENT), next }),
      notAfter: fc.oneof(
        { weight: 9, arbitrary: fc.constant(FAR) },
        { weight: 1, arbitrary: fc.constant(1) },
      ),
      observe: list(anyKey),
      remove: list(key),
      unset: list(fc.record({ key, fields: fc.uniqueArray(field, { minLength: 1 }) })),
      set: list(
        fc.record({
          key: fc.oneof({ weight: 4, arbitrary: key }, { weight: 1, arbitrary: fc.constant('tally') }),
          fields,
        }),
      ),
      increment: list(
        fc.record({ key: fc.constantFrom(...COUNTERS), field, by: fc.integer({ min: -3, max: 9 }) }),
      ),
      index: list(fc.record({ index: fc.constantFrom(...INDEXES), id: fc.constantFrom(...IDS), score })),
      append: list(fields),
    },
    { requiredKeys: ['guard'] },
  );
  return fc.uniqueArray(batch, { minLength: 1, maxLength: 3, selector: ({ guard }) => guard.key });
}

function queries(fc: FastCheck): Arbitrary<RangeQuery> {
  const bound = fc.oneof(
    fc.constantFrom(-1, 0, 1, 2, 2.5, 4),
    fc.record({ fromNow: fc.constantFrom(-60_000, 60_000) }),
  );
  const after = fc.record({ score: fc.constantFrom(-1, 0, 1, 2, 2.5), id: fc.constantFrom(...IDS, 'pp') });
  return fc.record(
    { from: bound, to: bound, after, limit: fc.integer({ min: 1, max: 4 }), reverse: fc.boolean() },
    { requiredKeys: ['limit'] },
  );
}

function commands(fc: FastCheck): Arbitrary<Command[]> {
  const index = fc.constantFrom(...INDEXES);
  const bound = fc.constantFrom(-1, 0, 1, 2, 2.5, 4);
  const command: Arbitrary<Command> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('commit' as const), batches: batches(fc) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('read' as const),
        keys: fc.array(fc.constantFrom(...KEYS, ...COUNTERS), { minLength: 1, maxLength: 5 }),
        fields: fc.option(fc.uniqueArray(fc.constantFrom(...FIELDS, 'token'), { minLength: 1 }), {
          nil: undefined,
        }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('range' as const), index, query: queries(fc) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('count' as const),
        index,
        bounds: fc.record({ from: bound, to: bound }, { requiredKeys: [] }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('events' as const),
        back: fc.option(fc.integer({ min: 0, max: 20 }), { nil: null }),
        limit: fc.integer({ min: 1, max: 20 }),
      }),
    },
  );
  return fc.array(command, { minLength: 1, maxLength: 30 });
}

/** An outcome without the words of a refusal, which are the adapter's own. */
function plain(outcome: Outcome): unknown {
  if (outcome.status !== 'refused') return outcome;
  return { status: 'refused', code: outcome.code };
}

function eventPlain({ events, truncated }: EventPage): unknown {
  return { events: events.map(({ fields }) => fields), truncated };
}

/** Both storages side by side. The model's time is what the adapter's replies tell. */
class SideBySide {
  readonly #storage: Storage;
  readonly #partition: string;
  readonly #model: Storage;
  #modelNow = 0;
  #fresh = 0;
  /** Cursors that both have given for the same event: the adapter's and the model's. */
  readonly #cursors: (readonly [string, string])[] = [];

  constructor(storage: Storage, partition: string) {
    this.#storage = storage;
    this.#partition = partition;
    const clock = { wallMs: (): number => this.#modelNow };
    this.#model = storageOver(() => new MemoryPartition(MAX_EVENTS), clock, 1);
  }

  async run(command: Command): Promise<void> {
    switch (command.do) {
      case 'commit':
        return this.#commit(command.batches);
      case 'read':
        return this.#read(command.keys, command.fields);
      case 'range':
        return this.#range(command.index, command.query);
      case 'count': {
        const count = await this.#storage.count(this.#partition, command.index, command.bounds);
        assert.equal(count, await this.#model.count(this.#partition, command.index, command.bounds));
        return;
      }
      case 'events':
        return this.#events(command.back, command.limit);
    }
  }

  async finish(): Promise<void> {
    await this.#read([...KEYS, ...COUNTERS], undefined);
    for (const index of INDEXES) await this.#range(index, { limit: 100 });
    await this.#events(null, 100);
  }

  /** Fills in what the guards' placeholders stand for, and leaves out most of what would be invalid. */
  async #filled(batch: Batch): Promise<Batch> {
    const { key, expect, next } = batch.guard;
    const { records } = await this.#model.read(this.#partition, [key]);
    const current = records[0]?.get('token') ?? null;
    // A batch that sets the token that stands there is a duplicate, whatever it expects.
    const duplicate = next === CURRENT;
    const expected = duplicate ? 'another' : expect === CURRENT ? current : expect;
    const fresh = next === FRESH || (next === null && expected === null);
    return {
      ...batch,
      guard: { key, expect: expected, next: duplicate ? current : fresh ? `fresh-${++this.#fresh}` : next },
      ...(expected === null ? { notAfter: batch.notAfter ?? FAR } : {}),
      ...(batch.remove ? { remove: batch.remove.filter((other) => other !== key) } : {}),
    };
  }

  async #commit(drawn: readonly Batch[]): Promise<void> {
    const batches: Batch[] = [];
    for (const batch of drawn) batches.push(await this.#filled(batch));
    const reply = await this.#storage.commit(this.#partition, batches);
    this.#modelNow = reply.nowMs;
    const expected = await this.#model.commit(this.#partition, batches);
    assert.deepEqual(reply.outcomes.map(plain), expected.outcomes.map(plain));
    // Both logs are read after every commit, so that cursors of events that are trimmed later are known.
    await this.#events(null, 100);
  }

  async #read(keys: readonly string[], fields: readonly string[] | undefined): Promise<void> {
    const { records } = await this.#storage.read(this.#partition, keys, fields);
    assert.deepEqual(records, (await this.#model.read(this.#partition, keys, fields)).records);
  }

  async #range(index: string, query: RangeQuery): Promise<void> {
    const reply = await this.#storage.range(this.#partition, index, query);
    this.#modelNow = reply.nowMs;
    assert.deepEqual(reply.entries, (await this.#model.range(this.#partition, index, query)).entries);
  }

  async #events(back: number | null, limit: number): Promise<void> {
    const known = back === null ? undefined : this.#cursors.at(-1 - back);
    const [theirs, ours] = known ?? [null, null];
    const page = await this.#storage.events(this.#partition, { after: theirs, limit });
    const expected = await this.#model.events(this.#partition, { after: ours, limit });
    assert.deepEqual(eventPlain(page), eventPlain(expected));
    for (const [i, { cursor }] of expected.events.entries()) {
      if (this.#cursors.some(([, own]) => own === cursor)) continue;
      this.#cursors.push([page.events[i]?.cursor ?? '', cursor]);
    }
  }
}

async function sameAsModel(bench: Bench): Promise<void> {
  const fc = await fastCheck();
  const property = fc.asyncProperty(commands(fc), async (list) => {
    const both = new SideBySide(bench.storage, bench.freshPartition());
    for (const command of list) await both.run(command);
    await both.finish();
  });
  await fc.assert(property, propertyOptions(bench));
}

/** The property stands under S1, and finds breaches of S2, S3, S5, S6 and S7 too. */
export const differentialCases: readonly LawCase[] = [
  {
    law: 'S1',
    title: 'random commands come to the same as on the memory storage',
    maxEvents: MAX_EVENTS,
    run: sameAsModel,
  },
];
