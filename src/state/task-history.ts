/** What is still known of a task's past, from the events of its partition: the log is bounded, and so is the look through it. */
import type { RecoveryEvent } from '../domain/events.js';
import type { TaskAttempt, TaskHistory } from '../domain/operations.js';
import { ORPHAN_CAUSES, RECOVERY_ACTIONS } from '../domain/task.js';
import type { Store } from './store.js';
import { decodeEvent } from './task-events.js';

const PAGE = 1_000;
/** Pages read at most: more than any log keeps that was not made far larger than it is by default. */
const MOST_PAGES = 100;

/** What ends an attempt; `recovery_*` tell the same as the events beside them. */
const ENDS: ReadonlySet<string> = new Set([
  'task_completed',
  'task_failed',
  'task_cancelled',
  'task_released',
  'task_retrying',
  'dead_lettered',
]);

export async function historyOf(store: Store, taskId: string): Promise<TaskHistory> {
  const partition = store.partitionOf(taskId);
  const { nowMs } = await store.read(partition, ['clock']);
  const events: RecoveryEvent[] = [];
  let after: string | null = null;
  let gap = false;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const page = await store.events(partition, after, PAGE);
    // The log is cut at its front while it is read.
    gap ||= after !== null && page.truncated;
    let last: RecoveryEvent | null = null;
    for (const { fields } of page.events) {
      last = decodeEvent(fields);
      if (last.task_id === taskId) events.push(last);
    }
    // What is written while it is read may never end.
    if (page.events.length < PAGE || (last?.timestamp ?? 0) > nowMs) break;
    after = page.events.at(-1)?.cursor ?? null;
  }
  // Events of an earlier task of the same id are numbered from 1 as well.
  const first = events.findLastIndex(({ seq }) => seq === 1);
  const own = first < 0 ? events : events.slice(first);
  return { attempts: attemptsOf(own), events: own, truncated: (first < 0 || gap) && own.length > 0 };
}

function attemptsOf(events: readonly RecoveryEvent[]): TaskAttempt[] {
  const attempts: TaskAttempt[] = [];
  let open = false;
  for (const event of events) {
    if (event.event === 'task_started' || event.event === 'recovery_started') {
      attempts.push(begun(event));
      open = true;
    } else if (ENDS.has(event.event)) {
      if (open) end(attempts, event);
      // Whatever is said of it later, by hand, is not the end of an attempt.
      open = false;
    }
  }
  return attempts;
}

function begun({ timestamp, details }: RecoveryEvent): TaskAttempt {
  return {
    attempt: Number(details['attempt'] ?? 0),
    startedAtMs: timestamp,
    cause: ORPHAN_CAUSES.find((cause) => cause === details['cause']) ?? null,
    decision: RECOVERY_ACTIONS.find((action) => action === details['decision']) ?? null,
    reason: details['reason'] ?? null,
    end: null,
    endedAtMs: null,
  };
}

/** The end of the last one; an orphan that is given up ends none. */
function end(attempts: TaskAttempt[], { event, timestamp, details }: RecoveryEvent): void {
  const last = attempts.at(-1);
  if (last === undefined) return;
  if (event === 'dead_lettered' || (event === 'task_cancelled' && details['crashes'] !== undefined)) return;
  attempts[attempts.length - 1] = { ...last, end: event, endedAtMs: timestamp };
}
