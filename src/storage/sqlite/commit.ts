/**
 * The commit. Batches are decided in this process, over the rows that they depend on, and only what is left of
 * them at the end is written: few statements for many batches, and a refused one needs no savepoint.
 */
import { systemClock } from '../../clock.js';
import { isRecoveryError } from '../../errors.js';
import { checkBatch, incremented } from '../check.js';
import { TOKEN_FIELD } from '../storage.js';
import type { Batch, CommitReply, Fields, Outcome, StoredRecord, Value } from '../storage.js';
import { encodeText, isName } from './connection.js';
import type { Connection } from './connection.js';
import type { SqliteParam } from './driver.js';
import { loadRecords, loadTokens } from './queries.js';
import type { RecordMap } from './queries.js';

/** What a call's batches did to one record: `wiped` first, then the fields; null is a removed field. */
interface RecordChange {
  wiped: boolean;
  readonly fields: Map<string, string | null>;
}

interface EntryChange {
  readonly index: string;
  readonly id: string;
  readonly score: number | null;
}

/** The records as a call found them, and what its batches have done so far. */
class Changes {
  readonly records: Map<string, RecordChange> = new Map();
  readonly entries: Map<string, EntryChange> = new Map();
  readonly events: string[] = [];
  readonly #base: RecordMap;
  readonly #nowMs: number;

  constructor(base: RecordMap, nowMs: number) {
    this.#base = base;
    this.#nowMs = nowMs;
  }

  /** The outcome of a batch that must not be written, or null when it may. The order is that of law S3. */
  decide(batch: Batch): Outcome | null {
    const { key, expect, next } = batch.guard;
    const current = this.#get(key, TOKEN_FIELD) ?? null;
    if (current === next) return { status: 'duplicate', observed: this.#observe(batch) };
    if (batch.notAfter !== undefined && this.#nowMs > batch.notAfter) return { status: 'expired' };
    if (current !== expect) return { status: 'conflict', current };
    if (batch.increment === undefined) return null;
    const sums = new Map<string, string>();
    for (const { key: counter, field, by } of batch.increment) {
      const place = `${counter}\0${field}`;
      const sum = incremented(sums.get(place) ?? this.#get(counter, field), by);
      if (sum === null) {
        const message = `"${counter}" field "${field}" is no counter.`;
        return { status: 'refused', code: 'NOT_A_NUMBER', message };
      }
      sums.set(place, String(sum));
    }
    return null;
  }

  apply(batch: Batch): Outcome {
    const { guard } = batch;
    for (const key of batch.remove ?? []) this.#wipe(key);
    for (const { key, fields } of batch.unset ?? []) {
      for (const field of fields) if (isName(field)) this.#put(key, field, null);
    }
    for (const { key, fields } of batch.set ?? []) {
      const change = this.#change(key);
      for (const field of Object.keys(fields)) change.fields.set(field, this.#text(fields[field] ?? ''));
    }
    if (guard.next === null) this.#wipe(guard.key);
    else this.#put(guard.key, TOKEN_FIELD, guard.next);
    for (const { key, field, by } of batch.increment ?? []) {
      this.#put(key, field, String(incremented(this.#get(key, field), by) ?? 0));
    }
    for (const { index, id, score } of batch.index ?? []) {
      const resolved = typeof score === 'object' && score !== null ? this.#nowMs + score.fromNow : score;
      this.entries.set(`${index}\0${id}`, { index, id, score: resolved });
    }
    // Pairs, not an object: a field may be called __proto__.
    for (const fields of batch.append ?? []) this.events.push(JSON.stringify(this.#resolved(fields)));
    return { status: 'applied', observed: this.#observe(batch) };
  }

  #resolved(fields: Fields): [string, string][] {
    return Object.entries<Value>(fields).map(([name, value]) => [name, this.#text(value)]);
  }

  #text(value: Value): string {
    return typeof value === 'string' ? value : String(this.#nowMs + value.fromNow);
  }

  #get(key: string, field: string): string | undefined {
    const change = this.records.get(key);
    const changed = change?.fields.get(field);
    if (changed !== undefined) return changed ?? undefined;
    return change?.wiped === true ? undefined : this.#base.get(key)?.get(field);
  }

  #observe(batch: Batch): (StoredRecord | null)[] {
    return (batch.observe ?? []).map((key) => {
      const change = this.records.get(key);
      const record = new Map(change?.wiped === true ? [] : this.#base.get(key));
      for (const [field, value] of change?.fields ?? []) {
        if (value === null) record.delete(field);
        else record.set(field, value);
      }
      return record.size === 0 ? null : record;
    });
  }

  #change(key: string): RecordChange {
    let change = this.records.get(key);
    if (change === undefined) this.records.set(key, (change = { wiped: false, fields: new Map() }));
    return change;
  }

  #put(key: string, field: string, value: string | null): void {
    this.#change(key).fields.set(field, value);
  }

  #wipe(key: string): void {
    const change = this.#change(key);
    change.wiped = true;
    change.fields.clear();
  }
}

/** Reads all that the batches depend on: observed records whole, else tokens and counters. */
function loadBase(db: Connection, partition: string, batches: readonly Batch[]): RecordMap {
  const base: RecordMap = new Map();
  const whole = new Set<string>();
  for (const batch of batches) for (const key of batch.observe ?? []) whole.add(key);
  const guards = new Set<string>();
  const counters = new Map<string, Set<string>>();
  for (const { guard, increment = [] } of batches) {
    if (!whole.has(guard.key)) guards.add(guard.key);
    for (const { key, field } of increment) {
      if (whole.has(key)) continue;
      const keys = counters.get(field) ?? new Set();
      counters.set(field, keys.add(key));
    }
  }
  if (whole.size > 0) loadRecords(db, partition, [...whole], undefined, base);
  if (guards.size > 0) loadTokens(db, partition, [...guards], base);
  for (const [field, keys] of counters) loadRecords(db, partition, [...keys], [field], base);
  return base;
}

/** All fields that are texts, as one parameter: to bind them one by one took twice as long as to write them. */
const PUT_TEXTS = `INSERT INTO rekindle_records (partition, key, field, value)
  SELECT ?, record.key, field.key, field.value FROM json_each(?) AS record, json_each(record.value) AS field
  WHERE true ON CONFLICT DO UPDATE SET value = excluded.value`;

function writeRecords(db: Connection, partition: string, records: Changes['records']): void {
  const wiped: string[] = [];
  const texts: string[] = [];
  const rows: SqliteParam[][] = [];
  for (const [key, change] of records) {
    const removed: string[] = [];
    const members: string[] = [];
    if (change.wiped) wiped.push(key);
    for (const [field, value] of change.fields) {
      if (value === null) {
        if (!change.wiped) removed.push(field);
        continue;
      }
      const encoded = encodeText(value);
      if (typeof encoded === 'string') members.push(`${JSON.stringify(field)}:${JSON.stringify(encoded)}`);
      else rows.push([partition, key, field, encoded]);
    }
    if (members.length > 0) texts.push(`${JSON.stringify(key)}:{${members.join(',')}}`);
    if (removed.length > 0) {
      db.runIn(
        'DELETE FROM rekindle_records WHERE partition = ? AND key = ? AND field IN @',
        [partition, key],
        [removed],
      );
    }
  }
  db.runIn('DELETE FROM rekindle_records WHERE partition = ? AND key IN @', [partition], [wiped]);
  if (texts.length > 0) db.run(PUT_TEXTS, [partition, `{${texts.join(',')}}`]);
  db.insert(
    'INSERT INTO rekindle_records (partition, key, field, value) VALUES @ ON CONFLICT DO UPDATE SET value = excluded.value',
    rows,
  );
}

function writeIndexes(db: Connection, partition: string, entries: Changes['entries']): void {
  const removed = new Map<string, string[]>();
  const rows: SqliteParam[][] = [];
  for (const { index, id, score } of entries.values()) {
    if (score !== null) {
      rows.push([partition, index, id, score]);
      continue;
    }
    const ids = removed.get(index);
    if (ids === undefined) removed.set(index, [id]);
    else ids.push(id);
  }
  for (const [index, ids] of removed) {
    db.runIn(
      'DELETE FROM rekindle_index WHERE partition = ? AND idx = ? AND id IN @',
      [partition, index],
      [ids],
    );
  }
  db.insert(
    'INSERT INTO rekindle_index (partition, idx, id, score) VALUES @ ON CONFLICT DO UPDATE SET score = excluded.score',
    rows,
  );
}

function writeEvents(db: Connection, partition: string, events: readonly string[], maxEvents: number): void {
  if (events.length === 0) return;
  // The newest event is always kept, so that numbers are never given twice.
  const [newest] = db.all('SELECT seq FROM rekindle_events WHERE partition = ? ORDER BY seq DESC LIMIT 1', [
    partition,
  ]);
  const before = Number(newest?.['seq'] ?? 0);
  const last = before + events.length;
  db.insert(
    'INSERT INTO rekindle_events (partition, seq, payload) VALUES @',
    events.map((payload, at) => [partition, before + 1 + at, payload]),
  );
  // Trimmed in steps: one statement for many events.
  const step = Math.max(1, Math.min(256, Math.floor(maxEvents / 10)));
  if (last > maxEvents && Math.floor(last / step) > Math.floor(before / step)) {
    db.run('DELETE FROM rekindle_events WHERE partition = ? AND seq <= ?', [partition, last - maxEvents]);
  }
}

/** See `Storage.commit`. `refusals`: what `checkBatch` says about each batch, asked before the lock is taken. */
export function commitBatches(
  db: Connection,
  partition: string,
  batches: readonly Batch[],
  refusals: readonly ReturnType<typeof checkBatch>[],
  maxEvents: number,
): CommitReply {
  let base: RecordMap = new Map();
  let nowMs = 0;
  const sound = batches.filter((_, at) => refusals[at] === null);
  try {
    return db.write(() => {
      nowMs = systemClock.wallMs();
      base = loadBase(db, partition, sound);
      const changes = new Changes(base, nowMs);
      const outcomes = batches.map(
        (batch, at) => refusals[at] ?? changes.decide(batch) ?? changes.apply(batch),
      );
      writeRecords(db, partition, changes.records);
      writeIndexes(db, partition, changes.entries);
      writeEvents(db, partition, changes.events, maxEvents);
      return { nowMs, outcomes };
    });
  } catch (error) {
    if (nowMs === 0 || !isRecoveryError(error, 'STORAGE_FULL')) throw error;
    // Rolled back: nothing applied, so each batch is judged by what stood there before.
    const refused: Outcome = { status: 'refused', code: 'STORAGE_FULL', message: error.message };
    const outcomes = batches.map(
      (batch, at) => refusals[at] ?? new Changes(base, nowMs).decide(batch) ?? refused,
    );
    return { nowMs, outcomes };
  }
}
