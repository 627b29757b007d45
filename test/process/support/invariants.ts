/** What must hold of a namespace's records at any time, whatever was done to its workers. */
import type { EventPage, Recovery, Storage, TaskStatus } from '../../../src/index.js';
import { counterFields } from '../../../src/state/failures.js';
import { indexes, keys } from '../../../src/state/keys.js';
import { TASK_STATUSES } from '../../../src/domain/task.js';
import type { Report } from './worker-process.js';

const LIMIT = 5_000;
const TERMINAL = new Set(['task_completed', 'task_failed', 'task_cancelled', 'dead_lettered']);

/** All events of a namespace, a partition after the other. */
export async function storedEvents(
  storage: Storage,
  partitions: readonly string[],
): Promise<Record<string, string>[]> {
  const events: Record<string, string>[] = [];
  for (const partition of partitions) {
    for (let after: string | null = null, more = true; more;) {
      const page: EventPage = await storage.events(partition, { after, limit: LIMIT });
      events.push(...page.events.map(({ fields }) => Object.fromEntries(fields)));
      after = page.events.at(-1)?.cursor ?? null;
      more = page.events.length === LIMIT;
    }
  }
  return events;
}

function eventViolations(id: string, events: readonly Record<string, string>[]): string[] {
  const found: string[] = [];
  const numbers = events.map(({ seq }) => Number(seq));
  if (numbers.some((number, at) => number !== at + 1)) found.push(`${id}: events ${numbers.join(' ')}`);
  let end: string | null = null;
  for (const { event = '', cause } of events) {
    // Put back, or tried again as a failed document.
    if (event === 'task_requeued' || (event === 'recovery_started' && cause === 'retried')) end = null;
    if (!TERMINAL.has(event)) continue;
    const givenUp = end === 'task_failed' && event === 'dead_lettered';
    if (end !== null && !givenUp) found.push(`${id}: ended twice`);
    end = event;
  }
  return found;
}

async function members(storage: Storage, partitions: readonly string[], index: string): Promise<Set<string>> {
  const pages = await Promise.all(partitions.map((each) => storage.range(each, index, { limit: LIMIT })));
  return new Set(pages.flatMap(({ entries }) => entries.map(({ id }) => id)));
}

/** The retries of failed documents, by the events: those of `document`, the one task here whose failures are kept. */
function retriesOf(events: readonly Record<string, string>[]): { attempts: number; succeeded: number } {
  const found = { attempts: 0, succeeded: 0 };
  let failed = false;
  for (const { event, name, cause } of events) {
    if (name !== 'document') break;
    // What takes over from a crash goes on with the same retry.
    if (failed && event === 'recovery_started' && cause === 'retried') found.attempts += 1;
    if (failed && event === 'task_completed') found.succeeded += 1;
    if (event === 'task_failed' || event === 'task_completed') failed = event === 'task_failed';
  }
  return found;
}

async function counterViolations(
  storage: Storage,
  partitions: readonly string[],
  tasks: Iterable<readonly Record<string, string>[]>,
): Promise<string[]> {
  const counted = { attempts: 0, succeeded: 0, failed: 0 };
  for (const partition of partitions) {
    const [record] = (await storage.read(partition, [keys.retryCounters])).records;
    counted.attempts += Number(record?.get(counterFields.attempts) ?? 0);
    counted.succeeded += Number(record?.get(counterFields.succeeded) ?? 0);
    counted.failed += Number(record?.get(counterFields.failed) ?? 0);
  }
  const told = { attempts: 0, succeeded: 0 };
  for (const events of tasks) {
    const { attempts, succeeded } = retriesOf(events);
    told.attempts += attempts;
    told.succeeded += succeeded;
  }
  const { attempts, succeeded, failed } = counted;
  // A retry that is in hand, or died, has no end yet.
  const right =
    attempts === told.attempts && succeeded === told.succeeded && succeeded + failed <= told.attempts;
  return right ? [] : [`retries: ${JSON.stringify(counted)} counted, ${JSON.stringify(told)} by the events`];
}

/**
 * By what the workers have told: the fence rises with each attempt, none begins twice, and each goes on from the last
 * checkpoint that was acknowledged before, or from a later one. Returns what is wrong, in words.
 */
export function journalViolations(reports: readonly Report[]): string[] {
  const found: string[] = [];
  const fences = new Map<string, number>();
  const acknowledged = new Map<string, number>();
  for (const { type, ...report } of reports) {
    const id = String(report['id']);
    const step = acknowledged.get(id) ?? 0;
    if (type === 'running') {
      const fence = Number(report['fence']);
      const last = fences.get(id) ?? 0;
      if (fence <= last) found.push(`${id}: fence ${fence} after ${last}`);
      fences.set(id, fence);
      const from = Number(report['resumedStep']);
      if (from < step) found.push(`${id}: resumed from ${from}, ${step} was acknowledged`);
    }
    // Of an attempt that has lost the task there is nothing to be acknowledged any more.
    if (type === 'acknowledged') {
      if (report['fence'] !== fences.get(id)) found.push(`${id}: a zombie’s step was acknowledged`);
      acknowledged.set(id, Number(report['step']));
    }
  }
  return found;
}

/**
 * Every event of a task is there once and in order, with one end at most until it is tried again; every index has
 * exactly the tasks that it should, and the counters are what the events say. Returns what is wrong, in words.
 */
export async function violations(
  storage: Storage,
  partitions: readonly string[],
  observer: Recovery,
): Promise<string[]> {
  const byTask = new Map<string, Record<string, string>[]>();
  for (const event of await storedEvents(storage, partitions)) {
    const id = event['task_id'] ?? '';
    byTask.set(id, [...(byTask.get(id) ?? []), event]);
  }
  const found = [...byTask].flatMap(([id, events]) => eventViolations(id, events));
  const names = new Set([...byTask.values()].flatMap(([first]) => first?.['name'] ?? []));
  const inState = new Map<string, TaskStatus>();
  for (const name of names) {
    for (const status of TASK_STATUSES) {
      for (const id of await members(storage, partitions, indexes.inState(status, name))) {
        if (inState.has(id)) found.push(`${id}: in the indexes of ${inState.get(id)} and of ${status}`);
        inState.set(id, status);
      }
    }
  }
  const held = new Map<string, Set<string>>();
  for (const id of byTask.keys()) {
    const task = await observer.tasks.get(id);
    if (task?.status !== inState.get(id)) found.push(`${id}: is ${task?.status}, not ${inState.get(id)}`);
    if (task === null || task.owner === null) continue;
    const ids = held.get(task.owner) ?? (await members(storage, partitions, indexes.held(task.owner)));
    held.set(task.owner, ids);
    if (ids.has(id) !== (task.status === 'processing'))
      found.push(`${id}: ${task.status}, held: ${ids.has(id)}`);
  }
  found.push(...(await counterViolations(storage, partitions, byTask.values())));
  return found;
}
