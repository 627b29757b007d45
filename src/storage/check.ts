/** What every adapter refuses alike, before it opens a transaction: the shape of a batch, its names and its sizes. */
import { RecoveryError } from '../errors.js';
import { MAX_VALUE_BYTES, TOKEN_FIELD } from './storage.js';
import type { Batch, Fields, Refusal, RefusalCode } from './storage.js';

const LONGEST_NAME = 1024;
/** Counters stay below 10^15, so that no adapter ever rounds one. */
const LARGEST_COUNT = 999_999_999_999_999;

function refuse(code: RefusalCode, message: string): Refusal {
  return { status: 'refused', code, message };
}

function checkName(what: string, name: string): Refusal | null {
  if (name.length === 0 || name.length > LONGEST_NAME) {
    return refuse('INVALID', `${what} must have 1 to ${LONGEST_NAME} characters, not ${name.length}.`);
  }
  if (!name.isWellFormed()) return refuse('NOT_WELL_FORMED', `${what} holds a lone surrogate.`);
  return name.includes('\0') ? refuse('INVALID', `${what} holds a NUL character.`) : null;
}

/** Field names that were found in order: most batches carry the same few. Bounded, since users name some of them. */
const SOUND_FIELDS = new Set<string>();
const MOST_SOUND_FIELDS = 1_000;

function checkFieldName(where: string, name: string): Refusal | null {
  if (SOUND_FIELDS.has(name)) return null;
  const bad = checkName(`${where}: a field name`, name);
  if (bad === null && SOUND_FIELDS.size < MOST_SOUND_FIELDS) SOUND_FIELDS.add(name);
  return bad;
}

/** `where` says what the fields are of; with a key it is put into words only when there is something to say. */
function checkFields(what: string, fields: Fields, tokenAllowed: boolean, key?: string): Refusal | null {
  const bad = findBadField(what, fields, tokenAllowed);
  return bad === null || key === undefined
    ? bad
    : { ...bad, message: `${what} "${key}"${bad.message.slice(what.length)}` };
}

function findBadField(where: string, fields: Fields, tokenAllowed: boolean): Refusal | null {
  let count = 0;
  for (const name in fields) {
    count += 1;
    const value = fields[name];
    if (name === TOKEN_FIELD && !tokenAllowed) {
      return refuse('INVALID', `${where}: the field "${TOKEN_FIELD}" is reserved for the guard.`);
    }
    const badName = checkFieldName(where, name);
    if (badName) return badName;
    if (typeof value === 'string') {
      if (!value.isWellFormed())
        return refuse('NOT_WELL_FORMED', `${where}, field "${name}": a lone surrogate.`);
      if (value.length * 3 > MAX_VALUE_BYTES && Buffer.byteLength(value) > MAX_VALUE_BYTES) {
        return refuse('TOO_LARGE', `${where}, field "${name}": over ${MAX_VALUE_BYTES} bytes.`);
      }
    } else if (!Number.isSafeInteger(value?.fromNow)) {
      return refuse(
        'INVALID',
        `${where}, field "${name}": neither a text nor a whole number of ms from now.`,
      );
    }
  }
  return count === 0 ? refuse('INVALID', `${where}: no fields.`) : null;
}

function checkGuard(batch: Batch): Refusal | null {
  const { key, expect, next } = batch.guard;
  if (expect === null && next === null)
    return refuse('INVALID', 'The guard neither expects nor sets a token.');
  if (expect === null && batch.notAfter === undefined) {
    return refuse(
      'INVALID',
      'A guard that expects no record needs notAfter, or a late duplicate could bring it back.',
    );
  }
  if (expect === next) return refuse('INVALID', 'The guard expects and sets the same token.');
  if (batch.notAfter !== undefined && !Number.isFinite(batch.notAfter)) {
    return refuse('INVALID', 'notAfter is not a number.');
  }
  return (
    checkName('The guard key', key) ??
    (expect === null ? null : checkName('The expected token', expect)) ??
    (next === null ? null : checkName('The next token', next))
  );
}

function checkRecords(batch: Batch): Refusal | null {
  const { key: guardKey, next } = batch.guard;
  for (const key of batch.remove ?? []) {
    const bad = checkName('A key to remove', key);
    if (bad) return bad;
    if (key === guardKey)
      return refuse('INVALID', 'The guard is removed with guard.next = null, not with remove.');
  }
  for (const { key, fields } of batch.unset ?? []) {
    const bad = checkName('A key to unset', key);
    if (bad) return bad;
    if (fields.length === 0 || fields.includes(TOKEN_FIELD)) {
      return refuse('INVALID', `unset "${key}": no fields, or the reserved field "${TOKEN_FIELD}".`);
    }
  }
  for (const { key, fields } of batch.set ?? []) {
    const bad = checkName('A key to set', key) ?? checkFields('set', fields, false, key);
    if (bad) return bad;
    if (key === guardKey && next === null)
      return refuse('INVALID', 'A batch that removes its guard sets fields on it.');
  }
  for (const key of batch.observe ?? []) {
    const bad = checkName('A key to observe', key);
    if (bad) return bad;
  }
  return null;
}

function checkIncrements(batch: Batch): Refusal | null {
  if (batch.increment === undefined || batch.increment.length === 0) return null;
  const elsewhere = new Set<string>([batch.guard.key, ...(batch.remove ?? [])]);
  for (const { key } of [...(batch.set ?? []), ...(batch.unset ?? [])]) elsewhere.add(key);
  for (const { key, field, by } of batch.increment) {
    const bad = checkName('A key to increment', key) ?? checkName('A field to increment', field);
    if (bad) return bad;
    if (elsewhere.has(key))
      return refuse('INVALID', `"${key}" is incremented and changed otherwise in one batch.`);
    if (!Number.isSafeInteger(by) || Math.abs(by) > LARGEST_COUNT) {
      return refuse('INVALID', `increment "${key}": ${by} is not a whole number below 10^15.`);
    }
  }
  return null;
}

function checkIndexes(batch: Batch): Refusal | null {
  for (const { index, id, score } of batch.index ?? []) {
    const bad = checkName('An index', index) ?? checkName('An id', id);
    if (bad) return bad;
    if (score !== null && !Number.isFinite(typeof score === 'number' ? score : score.fromNow)) {
      return refuse('INVALID', `index "${index}": the score is not a finite number.`);
    }
  }
  return null;
}

/** The refusal that a batch deserves by its own content, or null. Cheap enough for every commit. */
export function checkBatch(batch: Batch): Refusal | null {
  const bad = checkGuard(batch) ?? checkRecords(batch) ?? checkIncrements(batch) ?? checkIndexes(batch);
  if (bad) return bad;
  for (const fields of batch.append ?? []) {
    const badEvent = checkFields('append', fields, true);
    if (badEvent) return badEvent;
  }
  return null;
}

/** The counter after an increment, or null when the field holds no whole number below 10^15. */
export function incremented(current: string | undefined, by: number): number | null {
  if (current !== undefined && !/^(0|-?[1-9]\d{0,14})$/.test(current)) return null;
  const sum = Number(current ?? '0') + by;
  return Math.abs(sum) > LARGEST_COUNT ? null : sum;
}

/** Refuses options that an adapter doesn't have, so that a misspelt one is not silently left out. @throws `INVALID_OPTION` */
export function checkKnown(where: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new RecoveryError(
    'INVALID_OPTION',
    `${where}: no such option: ${unknown.join(', ')} (known: ${known.join(', ')}).`,
  );
}
