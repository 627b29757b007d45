/** What of a run is a place to break it at, and in which words. */
import { FAILURE_FIELD } from '../../state/failures.js';
import { keys } from '../../state/keys.js';
import { ITEM_PREFIX, MAP_PREFIX, STEP_PREFIX } from '../../state/ledger.js';
import { REACHED_PREFIX } from '../../state/head.js';
import type { Batch, Fields } from '../../storage/storage.js';

const HEAD = keys.head('');

/**
 * How a run can be broken: the process dies before a durable write or an outside effect, or right after it, with the
 * answer lost; or it freezes there until another worker has taken over and finished, and then wakes as a zombie.
 */
export const CRASH_FAULTS = ['crash-before', 'crash-after', 'zombie-before', 'zombie-after'] as const;

export type CrashFault = (typeof CRASH_FAULTS)[number];

/** A fault at the n-th place of an incarnation, from 1. */
export interface PlannedFault {
  readonly at: number;
  readonly fault: CrashFault;
}

/** As text, for replay: `3:crash-after/2:zombie-before`. */
export function pathOf(faults: readonly PlannedFault[]): string {
  return faults.map(({ at, fault }) => `${at}:${fault}`).join('/');
}

/** Null for a text that is no path. */
export function faultsOf(path: string): PlannedFault[] | null {
  if (path === '') return [];
  const faults: PlannedFault[] = [];
  for (const part of path.split('/')) {
    const [number = '', name] = part.split(':');
    const fault = CRASH_FAULTS.find((each) => each === name);
    if (!/^[1-9]\d{0,8}$/.test(number) || fault === undefined) return null;
    faults.push({ at: Number(number), fault });
  }
  return faults;
}

/** Fields that a heartbeat brings along: what is written with them comes and goes with time. */
const RENEWED = new Set([
  'leaseUntil',
  'ranMs',
  'progress',
  'progressAt',
  'step',
  'description',
  'stuckSince',
]);

/** The task that a batch is about; null when it is about none. */
export function taskIdOf({ guard: { key } }: Batch): string | null {
  return key.startsWith(HEAD) ? key.slice(HEAD.length) : null;
}

/** Whether it starts a new task. */
export function isStart(batch: Batch): boolean {
  const { guard, set = [] } = batch;
  const head = set.find(({ key }) => key === guard.key);
  return taskIdOf(batch) !== null && guard.expect === null && head?.fields['status'] === 'processing';
}

/** What a batch does for a task, in words; null when it is not about one, or only keeps its lease. */
export function wordsOf(batch: Batch): string | null {
  const taskId = taskIdOf(batch);
  if (taskId === null) return null;
  const words: string[] = [];
  let items = 0;
  for (const { key, fields } of batch.set ?? []) {
    if (key === batch.guard.key) words.push(...wordsOfHead(fields, batch.guard.expect === null));
    else items += Object.keys(fields).filter((name) => name.startsWith(ITEM_PREFIX)).length;
  }
  if (items > 0 && !words.some((word) => word.startsWith('items'))) words.push('items of a map');
  return words.length === 0 ? null : `${taskId}: ${words.join(', ')}`;
}

function wordsOfHead(fields: Fields, isNew: boolean): string[] {
  const words: string[] = [];
  const { status } = fields;
  const text = typeof status === 'string' ? status : null;
  if (isNew) words.push(text === 'processing' ? 'start' : `report (${text ?? ''})`);
  else if (text === 'processing') words.push('takeover');
  else if (text !== null) words.push(text === 'orphaned' ? 'into the recovery queue' : `end (${text})`);
  for (const name of Object.keys(fields)) {
    if (name.startsWith(STEP_PREFIX)) words.push(`step "${name.slice(STEP_PREFIX.length)}"`);
    else if (name.startsWith(MAP_PREFIX)) words.push(`items of "${name.slice(MAP_PREFIX.length)}"`);
    else if (name.startsWith(REACHED_PREFIX)) words.push(`checkpoint "${name.slice(REACHED_PREFIX.length)}"`);
    else if (name === 'began' && text === null) words.push('the function may begin');
    else if (name === 'auto' && fields[name] !== '') words.push('automatic checkpoint');
  }
  if (words.length > 0) return words;
  const others = Object.keys(fields).filter((name) => !RENEWED.has(name) && name !== FAILURE_FIELD);
  return others.length === 0 ? [] : [`write (${others.join(', ')})`];
}
