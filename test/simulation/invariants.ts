/** What must be true of the records, the indexes and the events, whatever happened. */
import { decodeHead } from '../../src/state/head.js';
import type { Head } from '../../src/state/head.js';
import { indexes, keys, priorityBase } from '../../src/state/keys.js';
import type { MemoryPartition } from '../../src/storage/memory.js';
import { recoveriesOf } from '../support/recoveries.js';

const TERMINAL_EVENTS: ReadonlySet<string> = new Set([
  'task_completed',
  'task_failed',
  'task_cancelled',
  'dead_lettered',
]);
const TERMINAL_STATES: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled', 'dead_letter']);

export function headsOf(partitions: Iterable<MemoryPartition>): Head[] {
  const heads: Head[] = [];
  for (const partition of partitions) {
    for (const [key, record] of partition.records) {
      if (key.startsWith('h:')) heads.push(decodeHead(key.slice(2), record));
    }
  }
  return heads;
}

function scoreOf({ task }: Head): number | null {
  if (task.status === 'processing') return task.leaseUntilMs;
  if (task.status === 'pending') return task.dueAtMs;
  if (task.status === 'orphaned') return priorityBase(task.priority) + (task.dueAtMs ?? Number.NaN);
  return task.endedAtMs;
}

function expectedEntries(heads: readonly Head[]): Map<string, number | null> {
  const expected = new Map<string, number | null>();
  for (const head of heads) {
    const { taskId, name, status, owner, stuckSinceMs } = head.task;
    expected.set(`${indexes.inState(status, name)} ${taskId}`, scoreOf(head));
    if (status === 'processing') expected.set(`${indexes.held(owner ?? '')} ${taskId}`, 0);
    if (head.group !== null) expected.set(`${indexes.group(head.group)} ${taskId}`, head.task.createdAtMs);
    if (stuckSinceMs !== null) expected.set(`${indexes.stuck(name)} ${taskId}`, stuckSinceMs);
  }
  return expected;
}

/** I6: the indexes say what the records say, in both directions, scores included. */
export function indexViolations(partitions: Iterable<MemoryPartition>): string[] {
  const violations: string[] = [];
  for (const partition of partitions) {
    const expected = expectedEntries(headsOf([partition]));
    for (const key of partition.records.keys()) {
      if (key.startsWith('q:')) violations.push(`I6 ${key} is quarantined`);
    }
    const workers = new Set([...partition.records.keys()].filter((key) => key.startsWith('w:')));
    for (const [index, { entries }] of [...partition.indexes].map(([name, sorted]) => {
      return [name, { entries: sorted.entries() }] as const;
    })) {
      if (index === indexes.names) continue;
      for (const { id, score } of entries) {
        if (index === indexes.workers) {
          if (!workers.delete(`w:${id}`)) violations.push(`I6 ${index} names ${id}, which has no record`);
          continue;
        }
        const place = `${index} ${id}`;
        const wanted = expected.get(place);
        if (wanted !== score) violations.push(`I6 ${place} stands at ${score}, the record says ${wanted}`);
        expected.delete(place);
      }
    }
    for (const [place, score] of expected) violations.push(`I6 ${place} at ${score} is missing`);
    for (const key of workers) violations.push(`I6 ${key} is missing in the workers index`);
  }
  return violations;
}

interface Last {
  readonly seq: number;
  readonly attempt: number;
  readonly ended: boolean;
  readonly completed: boolean;
}

const NOTHING: Last = { seq: 0, attempt: 0, ended: false, completed: false };

/** I8: a task's events are numbered without a gap, attempts never go back, and one terminal event ends each life. */
function eventViolations(partitions: Iterable<MemoryPartition>): string[] {
  const violations: string[] = [];
  for (const partition of partitions) {
    const last = new Map<string, Last>();
    for (const { fields } of partition.log) {
      const taskId = fields.get('task_id') ?? '';
      const event = fields.get('event') ?? '';
      const seq = Number(fields.get('seq'));
      const attempt = Number(fields.get('attempt'));
      const before = last.get(taskId) ?? NOTHING;
      const what = `${event} of ${taskId} (event ${seq}, attempt ${attempt})`;
      if (seq !== before.seq + 1) violations.push(`I8 ${what} follows event ${before.seq}`);
      if (attempt < before.attempt) violations.push(`I4 ${what} follows attempt ${before.attempt}`);
      if (before.ended && event !== 'task_requeued') violations.push(`I8 ${what} follows the end`);
      if (event === 'task_requeued' && before.completed) violations.push(`I8 ${what} follows its completion`);
      const ended = TERMINAL_EVENTS.has(event);
      last.set(taskId, { seq, attempt, ended, completed: event === 'task_completed' });
    }
    for (const { task, eventSeq } of headsOf([partition])) {
      const end = last.get(task.taskId);
      if (end?.seq !== eventSeq)
        violations.push(`I8 ${task.taskId} has ${eventSeq} events, the log ${end?.seq}`);
      if (end?.ended !== TERMINAL_STATES.has(task.status)) {
        violations.push(`I8 ${task.taskId} is ${task.status}, the log says otherwise`);
      }
    }
  }
  return violations;
}

/** I19: what recovery has come to, as it is counted, is what the events tell. */
function counterViolations(partitions: Iterable<MemoryPartition>): string[] {
  const violations: string[] = [];
  for (const partition of partitions) {
    const counts = recoveriesOf([partition]);
    const counted = partition.records.get(keys.recoveryTotals);
    for (const [name, count] of Object.entries(counts)) {
      const found = Number(counted?.get(name) ?? 0);
      if (found !== count) violations.push(`I19 ${name} are counted ${found} times, the log has ${count}`);
    }
  }
  return violations;
}

/** I5: nothing is left that did not end. */
export function unendedTasks(partitions: Iterable<MemoryPartition>): string[] {
  return headsOf(partitions)
    .filter(({ task }) => !TERMINAL_STATES.has(task.status))
    .map(({ task }) => `I5 ${task.taskId} is still ${task.status}, attempt ${task.attempt}`);
}

/** What must be true in the end. */
export function endViolations(partitions: readonly MemoryPartition[]): string[] {
  return [...eventViolations(partitions), ...counterViolations(partitions), ...unendedTasks(partitions)];
}
