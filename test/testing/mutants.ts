/** Storages that break one law each. */
import { systemClock } from '../../src/clock.js';
import { MemoryPartition, memoryStorage, storageOver } from '../../src/storage/memory.js';
import type { Batch, CommitReply, Fields, Outcome, Storage } from '../../src/storage/storage.js';
import type { Law } from '../../src/testing/index.js';

type Make = (maxEvents: number) => MemoryPartition;

function over(make: Make): (maxEvents: number) => Storage {
  return (maxEvents) => storageOver(() => make(maxEvents), systemClock, 1);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class HalfWritten extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    const outcome = super.check(batch, nowMs);
    if (outcome?.status === 'refused' && outcome.code === 'NOT_A_NUMBER') {
      this.write({ ...batch, increment: [], append: [] }, nowMs);
    }
    return outcome;
  }
}

class AppliesAgain extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    const outcome = super.check(batch, nowMs);
    return outcome?.status === 'duplicate' ? null : outcome;
  }
}

class CountsAgain extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    const outcome = super.check(batch, nowMs);
    const { increment, append, guard } = batch;
    if (outcome?.status === 'duplicate') {
      this.write({ guard, ...(increment && { increment }), ...(append && { append }) }, nowMs);
    }
    return outcome;
  }
}

class NoGuard extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    const outcome = super.check(batch, nowMs);
    return outcome?.status === 'conflict' ? null : outcome;
  }
}

class NoGuardOnCreation extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    const outcome = super.check(batch, nowMs);
    return outcome?.status === 'conflict' && batch.guard.expect === null ? null : outcome;
  }
}

class IgnoresNotAfter extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    return super.check(batch, Math.min(nowMs, batch.notAfter ?? nowMs));
  }
}

class ExpiredFirst extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    const outcome = super.check(batch, nowMs);
    const late = batch.notAfter !== undefined && nowMs > batch.notAfter;
    return outcome?.status === 'duplicate' && late ? { status: 'expired' } : outcome;
  }
}

class ConflictBeforeExpired extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    const outcome = super.check(batch, nowMs);
    if (outcome?.status !== 'expired') return outcome;
    const { notAfter: _, ...rest } = batch;
    const other = batch.guard.expect === null ? null : super.check(rest, nowMs);
    return other?.status === 'conflict' ? other : outcome;
  }
}

class OwnClock extends MemoryPartition {
  override write(batch: Batch, nowMs: number): Outcome {
    return super.write(batch, nowMs + 250);
  }
}

class LogsRefused extends MemoryPartition {
  override check(batch: Batch, nowMs: number): Outcome | null {
    const outcome = super.check(batch, nowMs);
    if (outcome?.status === 'conflict' || outcome?.status === 'expired') {
      for (const fields of batch.append ?? []) {
        const texts = Object.entries(fields).map(([name, value]): [string, string] => [
          name,
          typeof value === 'string' ? value : '0',
        ]);
        this.log.push({ cursor: `extra-${this.log.length}`, fields: new Map(texts) });
      }
    }
    return outcome;
  }
}

function mapTexts(fields: Fields, map: (text: string) => string): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === 'string' ? map(value) : value]),
  );
}

/** Rewrites texts on their way in. */
function rewriting(map: (text: string) => string): (maxEvents: number) => Storage {
  return (maxEvents) => {
    const inner = memoryStorage({ maxEvents });
    return {
      ...inner,
      commit: (partition, batches) =>
        inner.commit(
          partition,
          batches.map((batch) => ({
            ...batch,
            ...(batch.set && {
              set: batch.set.map(({ key, fields }) => ({ key, fields: mapTexts(fields, map) })),
            }),
          })),
        ),
    };
  };
}

/** Splits what a batch does over two turns of the event loop: first what `early` leaves, then the rest. */
function inTwoTurns(early: (batch: Batch) => Batch, late: (batch: Batch) => Batch): Make {
  return (maxEvents) =>
    new (class extends MemoryPartition {
      override write(batch: Batch, nowMs: number): Outcome {
        const outcome = super.write(early(batch), nowMs);
        void turn().then(() => super.write(late(batch), nowMs));
        return outcome;
      }
    })(maxEvents);
}

const withoutIndex = (batch: Batch): Batch => ({ ...batch, index: [] });
const indexOnly = ({ guard, index }: Batch): Batch => ({ guard, ...(index && { index }) });
const withoutSets = (batch: Batch): Batch => ({ ...batch, set: [] });
const setsOnly = ({ guard, set }: Batch): Batch => ({ guard, ...(set && { set }) });

export function wrapped(change: (inner: Storage) => Partial<Storage>): (maxEvents: number) => Storage {
  return (maxEvents) => {
    const inner = memoryStorage({ maxEvents });
    return { ...inner, ...change(inner) };
  };
}

/** Two connections that read, then write: the guard is checked by one call and the batch applied by another. */
const checksThenActs = wrapped((inner) => ({
  async commit(partition, batches): Promise<CommitReply> {
    const { records } = await inner.read(
      partition,
      batches.map(({ guard }) => guard.key),
    );
    await turn();
    const now = await inner.read(
      partition,
      batches.map(({ guard }) => guard.key),
    );
    // The token seen first is good enough: whatever stands there now is expected.
    return inner.commit(
      partition,
      batches.map((batch, i) => {
        const seen = records[i]?.get('token') ?? null;
        const current = now.records[i]?.get('token') ?? null;
        const good = seen === batch.guard.expect && current !== batch.guard.next;
        return good && current !== null ? { ...batch, guard: { ...batch.guard, expect: current } } : batch;
      }),
    );
  },
}));

/** What it does wrong, the law it breaks, and how it is made. */
export const MUTANTS: readonly (readonly [string, Law, (maxEvents: number) => Storage])[] = [
  ['writes a part of a refused batch', 'S1', over((max) => new HalfWritten(max))],
  ['writes records after the reply', 'S1', over(inTwoTurns(withoutSets, setsOnly))],
  [
    'refuses the neighbours too',
    'S1',
    wrapped((inner) => ({
      async commit(partition, batches) {
        for (const batch of batches) {
          const reply = await inner.commit(partition, [batch]);
          const [outcome] = reply.outcomes;
          if (outcome?.status === 'refused') return { ...reply, outcomes: batches.map(() => outcome) };
        }
        return inner.commit(partition, batches);
      },
    })),
  ],
  [
    'has one partition for all',
    'S1',
    wrapped((inner) => ({
      read: (_, ...rest) => inner.read('all', ...rest),
      commit: (_, ...rest) => inner.commit('all', ...rest),
    })),
  ],
  ['has no guard', 'S2', over((max) => new NoGuard(max))],
  ['creates over what exists', 'S2', over((max) => new NoGuardOnCreation(max))],
  ['checks the guard, then acts', 'S2', checksThenActs],
  ['is not idempotent', 'S3', over((max) => new AppliesAgain(max))],
  ['counts and logs a duplicate again', 'S3', over((max) => new CountsAgain(max))],
  ['ignores notAfter', 'S3', over((max) => new IgnoresNotAfter(max))],
  ['calls a late duplicate expired', 'S3', over((max) => new ExpiredFirst(max))],
  ['tells a conflict before expiry', 'S3', over((max) => new ConflictBeforeExpired(max))],
  ['fills in another clock', 'S4', over((max) => new OwnClock(max))],
  [
    'resolves bounds with a clock of its own',
    'S4',
    wrapped((inner) => ({
      range: (partition, index, query, options) => {
        const to = typeof query.to === 'object' ? 0 : query.to;
        return inner.range(partition, index, { ...query, ...(to === undefined ? {} : { to }) }, options);
      },
    })),
  ],
  ['lets the index lag', 'S5', over(inTwoTurns(withoutIndex, indexOnly))],
  [
    'breaks ties by UTF-16',
    'S5',
    wrapped((inner) => ({
      async range(partition, index, query) {
        const reply = await inner.range(partition, index, query);
        const entries = reply.entries.toSorted((a, b) => a.score - b.score || (a.id < b.id ? -1 : 1));
        return { ...reply, entries: query.reverse === true ? entries.toReversed() : entries };
      },
    })),
  ],
  [
    'loses its place when the entry at the cursor is gone',
    'S5',
    wrapped((inner) => ({
      async range(partition, index, { after, ...query }) {
        const all = await inner.range(partition, index, { ...query, limit: 1e6 });
        const place = all.entries.findIndex(({ id }) => id === after?.id);
        return { ...all, entries: all.entries.slice(place + 1, place + 1 + query.limit) };
      },
    })),
  ],
  ['logs what did not apply', 'S6', over((max) => new LogsRefused(max))],
  [
    'never tells that the log was trimmed',
    'S6',
    wrapped((inner) => ({
      events: async (...args) => ({ ...(await inner.events(...args)), truncated: false }),
    })),
  ],
  ['keeps every event', 'S6', () => memoryStorage()],
  ['repairs lone surrogates', 'S7', rewriting((text) => text.toWellFormed())],
  ['ends texts at a NUL', 'S7', rewriting((text) => text.split('\0')[0] ?? '')],
  [
    'stores numbers as numbers',
    'S7',
    rewriting((text) => (/^-?\d+$/.test(text) ? String(Number(text)) : text)),
  ],
  [
    'drops __proto__',
    'S7',
    wrapped((inner) => ({
      async read(...args) {
        const reply = await inner.read(...args);
        const clean = reply.records.map(
          (record) => record && new Map([...record].filter(([name]) => name !== '__proto__')),
        );
        return { ...reply, records: clean };
      },
    })),
  ],
  ['applies again what is sent again', 'S8', over((max) => new AppliesAgain(max))],
];
