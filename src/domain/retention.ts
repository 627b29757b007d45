/** For how long things are kept. */
import type { Check } from './check-options.js';
import { isObject, number } from './check-options.js';
import type { DocumentSettings } from './document-recovery.js';
import type { Retention } from './operations.js';

const DAY_MS = 24 * 3_600_000;
const CENTURY_MS = 36_525 * DAY_MS;

/** How long tasks are kept, by how they ended, in ms; null: for ever. */
export interface RetentionSettings {
  readonly completed: number | null;
  readonly cancelled: number | null;
  readonly failed: number | null;
  readonly dead_letter: number | null;
  readonly countersMs: number;
}

/** For `checkOptions`: a time in ms, or null for ever. */
export const isPeriod: Check = (value) => {
  const problem = value === null ? null : number(0, CENTURY_MS)(value);
  return problem === null ? null : `${problem}, or null`;
};

const CHECKS: Readonly<Record<keyof Retention, Check>> = {
  completedMs: isPeriod,
  cancelledMs: isPeriod,
  failedMs: isPeriod,
  deadLetterMs: isPeriod,
  // Windows of a day are made of them.
  countersMs: number(2 * DAY_MS, CENTURY_MS),
};

/** For `checkOptions`. */
export const isRetention: Check = (value) => {
  if (!isObject(value)) return 'must be an object';
  for (const [name, given] of Object.entries(value)) {
    const check = new Map<string, Check>(Object.entries(CHECKS)).get(name);
    if (check === undefined) return `has no "${name}" (known: ${Object.keys(CHECKS).join(', ')})`;
    const problem = given === undefined ? null : check(given);
    if (problem !== null) return `${name} ${problem}`;
  }
  return null;
};

function period(given: number | null | undefined, otherwise: number): number | null {
  return given === undefined ? otherwise : given;
}

/** @param documents for how long failed documents are kept: their tasks are not removed before, unless somebody says so */
export function retentionOf(
  given: Retention | undefined,
  documents: Pick<DocumentSettings, 'retentionMs' | 'deadLetterRetentionMs'>,
): RetentionSettings {
  return {
    completed: period(given?.completedMs, 7 * DAY_MS),
    cancelled: period(given?.cancelledMs, 7 * DAY_MS),
    failed: period(given?.failedMs, Math.max(30 * DAY_MS, documents.retentionMs)),
    dead_letter: period(given?.deadLetterMs, Math.max(30 * DAY_MS, documents.deadLetterRetentionMs)),
    countersMs: given?.countersMs ?? 8 * DAY_MS,
  };
}
