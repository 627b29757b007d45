/** What must hold of a namespace's records at any time, whatever was done to its workers. */
import type { Recovery, Storage, TaskStatus } from '../../../src/index.js';
import { indexes } from '../../../src/state/keys.js';
import { TASK_STATUSES } from '../../../src/domain/task.js';

const LIMIT = 5_000;
const TERMINAL = new Set(['task_completed', 'task_failed', 'task_cancelled', 'dead_lettered']);

/** All events of a namespace, a partition after the other. */
export async function storedEvents(
  storage: Storage,
  partitions: readonly string[],
): Promise<Record<string, string>[]> {
  const events: Record<string, string>[] = [];
  for (const partition of partitions) {
    const page = await storage.events(partition, { after: null, limit: LIMIT });
    events.push(...page.events.map(({ fields }) => Object.fromEntries(fields)));
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

/**
 * Every event of a task is there once and in order, with one end at most until it is tried again; every index has
 * exactly the tasks that it should. Returns what is wrong, in words.
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
  return found;
}
