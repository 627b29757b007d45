/** A task's control record: what others have to tell its owner. It has a guard of its own, and is read with each renewal. */
import { fromJsonText } from '../domain/json.js';
import type { Batch, Fields, StoredRecord } from '../storage/storage.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import { keys } from './keys.js';
import { makeToken } from './token.js';

const CANCEL = 'cancel';
const LIVED_PREFIX = 'lived:';

/** What stands in it. */
export interface Control {
  readonly token: string | null;
  /** Why the task is to be cancelled; null when it is not. */
  readonly cancel: string | null;
  /** Fences of attempts that were taken for crashed, and whose owners were heard of again. */
  readonly lived: ReadonlySet<number>;
}

export function decodeControl(record: StoredRecord | null | undefined): Control {
  if (!record) return { token: null, cancel: null, lived: new Set() };
  const lived = new Set<number>();
  for (const field of record.keys()) {
    if (field.startsWith(LIVED_PREFIX)) lived.add(Number(field.slice(LIVED_PREFIX.length)));
  }
  return { token: record.get(TOKEN_FIELD) ?? null, cancel: reasonOf(record.get(CANCEL)), lived };
}

function reasonOf(text: string | undefined): string | null {
  if (text === undefined) return null;
  try {
    const reason = fromJsonText(text, 'a reason');
    return typeof reason === 'string' ? reason : '';
  } catch {
    // That it was asked for is what counts.
    return '';
  }
}

export function cancelField(reason: string): Fields {
  return { [CANCEL]: JSON.stringify(reason) };
}

export function livedField(fence: number): Fields {
  return { [`${LIVED_PREFIX}${fence}`]: '1' };
}

/** Adds to a task's control record. */
export function controlBatch(
  taskId: string,
  fields: Fields,
  { token: expect }: Control,
  { nonce, notAfter }: { readonly nonce: string; readonly notAfter: number },
): Batch {
  const key = keys.control(taskId);
  return { guard: { key, expect, next: makeToken(1, nonce, 0) }, notAfter, set: [{ key, fields }] };
}
