/** The reads: each runs in one snapshot, with the time read once. */
import { systemClock } from '../../clock.js';
import { RecoveryError } from '../../errors.js';
import { TOKEN_FIELD } from '../storage.js';
import type { Bound, EventPage, IndexEntry, RangeQuery, StoredEvent, StoredRecord } from '../storage.js';
import { decodeText, isName } from './connection.js';
import type { Connection, Row } from './connection.js';
import { propertyOf } from './driver.js';

const RECORDS = 'SELECT key, field, value FROM rekindle_records WHERE partition = ? AND key IN @';

/** Records by key, each with the fields that were read. */
export type RecordMap = Map<string, Map<string, string>>;

function collect(rows: readonly Row[], into: RecordMap): RecordMap {
  for (const row of rows) {
    const key = String(row['key']);
    let record = into.get(key);
    if (record === undefined) into.set(key, (record = new Map()));
    record.set(String(row['field']), decodeText(row['value']));
  }
  return into;
}

/** Reads whole records, or the given fields only; inside a transaction. */
export function loadRecords(
  db: Connection,
  partition: string,
  keys: readonly string[],
  fields: readonly string[] | undefined,
  into: RecordMap,
): RecordMap {
  if (fields === undefined) return collect(db.allIn(RECORDS, [partition], [keys]), into);
  return collect(db.allIn(`${RECORDS} AND field IN @`, [partition], [keys, fields]), into);
}

/** Tokens are plain texts, so that they can come as one row: a row costs more than what is in it. */
const TOKENS = `SELECT json_group_array(json_array(key, value)) AS tokens FROM rekindle_records
  WHERE partition = ? AND key IN (SELECT value FROM json_each(?)) AND field = '${TOKEN_FIELD}'`;

/** Reads tokens only: what most commits need to know. */
export function loadTokens(
  db: Connection,
  partition: string,
  keys: readonly string[],
  into: RecordMap,
): void {
  const [row] = db.all(TOKENS, [partition, JSON.stringify(keys)]);
  const pairs: unknown = JSON.parse(String(row?.['tokens']));
  if (!Array.isArray(pairs)) return;
  for (const pair of pairs) {
    into.set(String(propertyOf(pair, '0')), new Map([[TOKEN_FIELD, String(propertyOf(pair, '1'))]]));
  }
}

/** See `Storage.read`. */
export function readRecords(
  db: Connection,
  partition: string,
  keys: readonly string[],
  fields: readonly string[] | undefined,
): { nowMs: number; records: (StoredRecord | null)[] } {
  const wanted = [...new Set(keys.filter(isName))];
  const names = fields?.filter(isName);
  return db.read(() => {
    const found = loadRecords(db, partition, wanted, names, new Map());
    // A copy a key, as a caller may own what it was given.
    const records = keys.map((key) => {
      const record = found.get(key);
      return record === undefined ? null : new Map(record);
    });
    return { nowMs: systemClock.wallMs(), records };
  });
}

/** A bound as a number that can be bound to a statement. */
function resolve(bound: Bound | undefined, otherwise: number, nowMs: number): number {
  const score = typeof bound === 'object' ? nowMs + bound.fromNow : (bound ?? otherwise);
  return Math.min(Math.max(score, -Number.MAX_VALUE), Number.MAX_VALUE);
}

const ENTRIES = 'SELECT id, score FROM rekindle_index WHERE partition = ? AND idx = ?';

/** See `Storage.range`. */
export function readRange(
  db: Connection,
  partition: string,
  index: string,
  query: RangeQuery,
): { nowMs: number; entries: IndexEntry[] } {
  const limit = wholeLimit(query.limit);
  return db.read(() => {
    const nowMs = systemClock.wallMs();
    if (limit === 0 || !isName(index)) return { nowMs, entries: [] };
    const from = resolve(query.from, -Infinity, nowMs);
    const to = resolve(query.to, Infinity, nowMs);
    const { after, reverse = false } = query;
    const order = reverse ? 'score DESC, id DESC' : 'score, id';
    let where = 'score >= ? AND score <= ?';
    let bounds: (string | number)[] = [from, to];
    // A cursor inside the range takes the place of the bound on its side: one seek, however many ties there are.
    if (after !== undefined && (reverse ? after.score <= to : after.score >= from)) {
      where = reverse ? 'score >= ? AND (score, id) < (?, ?)' : 'score <= ? AND (score, id) > (?, ?)';
      bounds = [reverse ? from : to, after.score, after.id];
    }
    const rows = db.all(`${ENTRIES} AND ${where} ORDER BY ${order} LIMIT ?`, [
      partition,
      index,
      ...bounds,
      limit,
    ]);
    return { nowMs, entries: rows.map((row) => ({ id: String(row['id']), score: Number(row['score']) })) };
  });
}

/** Kept by triggers, so that a whole index costs the same however many entries it has. */
const WHOLE = 'SELECT n FROM rekindle_counts WHERE partition = ? AND idx = ?';
const BETWEEN =
  'SELECT count(*) AS n FROM rekindle_index WHERE partition = ? AND idx = ? AND score >= ? AND score <= ?';

/** See `Storage.count`. */
export function countEntries(
  db: Connection,
  partition: string,
  index: string,
  { from = -Infinity, to = Infinity }: { readonly from?: Bound; readonly to?: Bound },
): number {
  return db.read(() => {
    const nowMs = systemClock.wallMs();
    if (!isName(index)) return 0;
    const [row] =
      from === -Infinity && to === Infinity
        ? db.all(WHOLE, [partition, index])
        : db.all(BETWEEN, [partition, index, resolve(from, -Infinity, nowMs), resolve(to, Infinity, nowMs)]);
    return Number(row?.['n'] ?? 0);
  });
}

function wholeLimit(limit: number): number {
  return Number.isNaN(limit) ? 0 : Math.max(0, Math.min(Math.floor(limit), 2 ** 31));
}

const EVENTS =
  'SELECT seq, payload FROM rekindle_events WHERE partition = ? AND seq >= ? ORDER BY seq LIMIT ?';

function toEvent(row: Row): StoredEvent {
  const pairs: unknown = JSON.parse(String(row['payload']));
  if (!Array.isArray(pairs))
    throw new RecoveryError('CORRUPT_RECORD', 'A row of rekindle_events is damaged.');
  const fields = new Map<string, string>();
  for (const pair of pairs) fields.set(String(propertyOf(pair, '0')), String(propertyOf(pair, '1')));
  return { cursor: String(row['seq']), fields };
}

/** See `Storage.events`. The cursor is the event's number in its partition. */
export function readEvents(
  db: Connection,
  partition: string,
  after: string | null,
  wanted: number,
): EventPage {
  const limit = wholeLimit(wanted);
  return db.read(() => {
    if (after !== null && /^[1-9]\d{0,14}$/.test(after)) {
      // Read from the cursor's own event on: if it comes, nothing behind it has been trimmed.
      const [own, ...rest] = db.all(EVENTS, [partition, Number(after), limit + 1]);
      if (own !== undefined && String(own['seq']) === after) {
        return { events: rest.map(toEvent), truncated: false };
      }
    }
    const rows = db.all(EVENTS, [partition, 0, limit]);
    return { events: rows.map(toEvent), truncated: after !== null };
  });
}
