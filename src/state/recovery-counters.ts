/**
 * What recovery has come to, counted in the commits that decide it: in all, and by the five minutes for windows. A task
 * that is neither recovered nor failed costs nothing here.
 */
import type { Batch, StoredRecord } from '../storage/storage.js';
import { keys } from './keys.js';
import type { Store } from './store.js';

/** What is counted. */
export interface RecoveryFigures {
  /** Takeovers. */
  readonly attempts: number;
  /** Of those, ended well. */
  readonly succeeded: number;
  /** How long these ran together, in ms. */
  readonly succeededMs: number;
  /** Takeovers that ended badly, and orphans that were given up. */
  readonly failed: number;
  /** Tasks that ended failed or were given up, recovered or not. */
  readonly failures: number;
  /** Orphans that were given to a queue. */
  readonly handedOver: number;
  /** Takeovers of those. */
  readonly received: number;
}

type Increment = NonNullable<Batch['increment']>[number];

const NAMES = [
  'attempts',
  'succeeded',
  'succeededMs',
  'failed',
  'failures',
  'handedOver',
  'received',
] as const;
const SLOT_MS = 300_000;
const SLOTS = 12;
export const HOUR_MS: number = SLOTS * SLOT_MS;
const DAY_MS = 24 * HOUR_MS;

/** @param atMs the storage's time, as whoever counts knows it */
export function countRecovery(figures: Partial<RecoveryFigures>, atMs: number): Increment[] {
  const hour = keys.recoveryHour(Math.floor(atMs / HOUR_MS));
  const slot = Math.floor(atMs / SLOT_MS) % SLOTS;
  const increments: Increment[] = [];
  for (const field of NAMES) {
    const by = figures[field] ?? 0;
    if (by === 0) continue;
    increments.push({ key: keys.recoveryTotals, field, by }, { key: hour, field: `${slot}:${field}`, by });
  }
  return increments;
}

const NOTHING: RecoveryFigures = {
  attempts: 0,
  succeeded: 0,
  succeededMs: 0,
  failed: 0,
  failures: 0,
  handedOver: 0,
  received: 0,
};

/** Since the namespace was made, and in the window up to now, to five minutes. */
export async function readRecoveries(
  store: Store,
  windowMs: number = DAY_MS,
): Promise<{ readonly totals: RecoveryFigures; readonly window: RecoveryFigures }> {
  const parts = await Promise.all(store.partitions.map((partition) => readPart(store, partition, windowMs)));
  return {
    totals: sum(parts.map(({ totals }) => totals)),
    window: sum(parts.map(({ window }) => window)),
  };
}

async function readPart(
  store: Store,
  partition: string,
  windowMs: number,
): Promise<{ totals: RecoveryFigures; window: RecoveryFigures }> {
  // Its own time, which may be another one than that of the others.
  const first = await store.readEach(partition, [keys.recoveryTotals]);
  const { nowMs } = first;
  const firstSlot = Math.floor((nowMs - windowMs) / SLOT_MS);
  const from = Math.floor((nowMs - windowMs) / HOUR_MS);
  // One more: others may be ahead of this process's estimate, and an hour may begin meanwhile.
  const hours = Array.from({ length: Math.floor(nowMs / HOUR_MS) + 2 - from }, (_, at) => from + at);
  const { records } = await store.readEach(
    partition,
    hours.map((hour) => keys.recoveryHour(hour)),
  );
  // What something else has written over counts as nothing.
  const known = (record: StoredRecord | Error | null | undefined): StoredRecord | null =>
    record === undefined || record instanceof Error ? null : record;
  const all = known(first.records[0]);
  const each = records.map(known);
  const slots = each.flatMap((record, at) => {
    const start = (hours[at] ?? 0) * SLOTS;
    return Array.from({ length: SLOTS }, (_, slot) =>
      start + slot < firstSlot || record === null
        ? NOTHING
        : figuresOf((name) => record.get(`${slot}:${name}`) ?? 0),
    );
  });
  return { totals: figuresOf((name) => all?.get(name) ?? 0), window: sum(slots) };
}

function figuresOf(value: (name: keyof RecoveryFigures) => string | number): RecoveryFigures {
  const figures = { ...NOTHING };
  for (const name of NAMES) {
    const count = Number(value(name));
    if (Number.isSafeInteger(count) && count >= 0) figures[name] = count;
  }
  return figures;
}

function sum(parts: readonly RecoveryFigures[]): RecoveryFigures {
  return figuresOf((name) => parts.reduce((total, part) => total + part[name], 0));
}

/** Keys of the records of the hours from `fromMs` to `endMs`, the last one not begun after `endMs`. */
export function hoursBefore(fromMs: number, endMs: number): string[] {
  const first = Math.floor(fromMs / HOUR_MS);
  const last = Math.floor(endMs / HOUR_MS) - 1;
  return Array.from({ length: Math.max(0, last + 1 - first) }, (_, at) => keys.recoveryHour(first + at));
}
