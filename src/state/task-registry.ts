import { RecoveryError } from '../errors.js';
import { checkOptions, isText, number, oneOf } from '../domain/check-options.js';
import { checkId } from '../domain/ids.js';
import { TASK_STATUSES } from '../domain/task.js';
import type { TaskHistory } from '../domain/operations.js';
import type { TaskRecord, TaskStatus } from '../domain/task.js';
import type { StoredRecord } from '../storage/storage.js';
import { decodeParts, encodeParts } from './cursor.js';
import { DuplicateSearch } from './duplicates.js';
import type { DuplicateReport } from './duplicates.js';
import { decodeHead } from './head.js';
import { indexes, keys } from './keys.js';
import type { Store } from './store.js';
import { historyOf } from './task-history.js';

/** What to list. */
export interface ListOptions {
  readonly name?: string | undefined;
  readonly status?: TaskStatus | undefined;
  /** Only tasks of this `group`, in a partition the earliest made first; not together with `name` and `status`. */
  readonly group?: string | undefined;
  /** `next` of the page before. */
  readonly after?: string | undefined;
  /** Tasks a page, 1 to 1,000. Default 100. */
  readonly limit?: number | undefined;
}

/** A page of tasks; `next` is null on the last one. */
export interface TaskPage {
  readonly tasks: readonly TaskRecord[];
  readonly next: string | null;
}

/** How many tasks there are in each state. */
export type TaskCounts = Readonly<Record<TaskStatus, number>>;

/**
 * What a cancellation came to: `cancelled`, at once, since nobody ran the task; `requested`, its owner ends it with its
 * next heartbeat; `ended`, it had ended before.
 */
export type CancelOutcome = 'cancelled' | 'requested' | 'ended';

/** What changes single tasks; made by the runtime. */
export interface TaskCommands {
  cancel(taskId: string, reason: string): Promise<CancelOutcome>;
  requeue(taskId: string): Promise<void>;
  removeTask(taskId: string): Promise<boolean>;
}

interface Place {
  readonly partition: string;
  readonly index: string;
}

/** The place is named, not numbered: a task name that comes up between two pages moves the numbers. */
interface Cursor extends Place {
  readonly score: number;
  readonly id: string;
}

const CHECKS = {
  name: isText,
  status: oneOf(...TASK_STATUSES),
  group: isText,
  after: isText,
  limit: number(1, 1_000),
};

function decodeCursor(text: string): Cursor {
  const [partition, index, score, id] = decodeParts(text);
  const named = typeof partition === 'string' && typeof index === 'string';
  if (named && typeof score === 'number' && Number.isFinite(score) && typeof id === 'string')
    return { partition, index, score, id };
  throw foreignCursor();
}

function foreignCursor(): RecoveryError {
  return new RecoveryError('INVALID_VALUE', 'This is no cursor of this task list. Start without one.');
}

function encodeCursor({ partition, index, score, id }: Cursor): string {
  return encodeParts([partition, index, score, id]);
}

function isSame(a: Place, b: Place): boolean {
  return a.partition === b.partition && a.index === b.index;
}

/** Looks at the tasks of a namespace, and lets operators step in. Reads indexes, never the whole keyspace. */
export class TaskRegistry {
  readonly #store: Store;
  readonly #commands: TaskCommands;

  constructor(store: Store, commands: TaskCommands) {
    this.#store = store;
    this.#commands = commands;
  }

  /**
   * One task, or null.
   * @throws `INVALID_ID`, `CORRUPT_RECORD`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example const task = await recovery.tasks.get('invoice-7');
   */
  readonly get = async (taskId: string): Promise<TaskRecord | null> => {
    checkId('The task id', taskId);
    await this.#store.look();
    const { records } = await this.#store.read(this.#store.partitionOf(taskId), [keys.head(taskId)]);
    const head = records[0] ? decodeHead(taskId, records[0]) : null;
    // One that is being removed is gone.
    return head?.purged === null ? head.task : null;
  };

  /**
   * What is still known of a task's past, from the log of events: empty when that has been overtaken. It reads as much of
   * the log as there is: for an operator's look, not for a loop.
   * @throws `INVALID_ID`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example for (const { attempt, cause, end } of (await recovery.tasks.history('invoice-7')).attempts) console.log(attempt, cause, end);
   */
  readonly history = async (taskId: string): Promise<TaskHistory> => {
    checkId('The task id', taskId);
    await this.#store.look();
    return historyOf(this.#store, taskId);
  };

  /**
   * A page of tasks, by state and name; within one, the earliest first. Tasks whose records can't be read are left out.
   * @throws `INVALID_OPTION`, `INVALID_VALUE` for a foreign cursor, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example const { tasks } = await recovery.tasks.list({ status: 'dead_letter' });
   */
  readonly list = async (options: ListOptions = {}): Promise<TaskPage> => {
    checkOptions('tasks.list', options, CHECKS, []);
    await this.#store.look();
    const limit = options.limit ?? 100;
    const places = await this.#places(options);
    const start = options.after === undefined ? null : decodeCursor(options.after);
    const first = start === null ? 0 : places.findIndex((each) => isSame(each, start));
    if (first < 0) throw foreignCursor();
    const tasks: TaskRecord[] = [];
    for (const at of places.slice(first)) {
      let after = start !== null && isSame(at, start) ? { score: start.score, id: start.id } : undefined;
      for (let ended = false; !ended;) {
        const wanted = limit - tasks.length;
        const query = { ...(after === undefined ? {} : { after }), limit: wanted };
        const { entries } = await this.#store.range(at.partition, at.index, query);
        const ids = entries.map((entry) => entry.id);
        tasks.push(...(await this.#read(at.partition, ids)));
        after = entries.at(-1);
        if (after !== undefined && tasks.length >= limit)
          return { tasks, next: encodeCursor({ ...at, ...after }) };
        // A page can come out short by the tasks that can't be read; the index goes on behind it all the same.
        ended = entries.length < wanted;
      }
    }
    return { tasks, next: null };
  };

  /**
   * A page of the tasks that were given up, each with its evidence: `crashes` and `error`.
   * @throws as `list` does
   * @example for (const { taskId, crashes } of (await recovery.tasks.deadLetters()).tasks) console.log(taskId, crashes);
   */
  readonly deadLetters = (options: Omit<ListOptions, 'status' | 'group'> = {}): Promise<TaskPage> =>
    this.list({ ...options, status: 'dead_letter' });

  /**
   * Ends a task for good, in whichever process it runs: there its signal aborts with the owner's next heartbeat, a third
   * of the lease later at most; a function that ignores it is fenced off soon after. `reason` is stored with the task.
   * @throws `INVALID_ID`, `INVALID_OPTION`, `TASK_NOT_FOUND`, `CORRUPT_RECORD`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example await recovery.tasks.cancel('invoice-7', { reason: 'withdrawn by the customer' });
   */
  readonly cancel = async (
    taskId: string,
    options: { readonly reason?: string } = {},
  ): Promise<CancelOutcome> => {
    checkOptions('tasks.cancel', options, { reason: isText }, []);
    return this.#commands.cancel(taskId, options.reason ?? '');
  };

  /**
   * Puts a task that was given up, failed, was cancelled or waits out a backoff into the recovery queue afresh: its
   * crashes and errors are forgotten, its checkpoints, steps and items are not.
   * @throws `INVALID_ID`, `TASK_NOT_FOUND`, `WRONG_STATE` for one that runs or is completed, `CORRUPT_RECORD`,
   *   `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example await recovery.tasks.requeue('invoice-7');
   */
  readonly requeue = (taskId: string): Promise<void> => this.#commands.requeue(taskId);

  /**
   * Takes a task that has ended away, with its checkpoints, steps, items, result and failure: a later call with its id
   * starts afresh. False when there is none.
   * @throws `INVALID_ID`, `WRONG_STATE` for one that has not ended, `CORRUPT_RECORD`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   */
  readonly remove = (taskId: string): Promise<boolean> => this.#commands.removeTask(taskId);

  /**
   * Tasks by state, over all names or one.
   * @throws `STORAGE_UNAVAILABLE`
   */
  readonly counts = async (name?: string): Promise<TaskCounts> => {
    await this.#store.look();
    const names = name === undefined ? await this.allNames() : [name];
    const total = async (status: TaskStatus): Promise<number> => {
      const counts = await Promise.all(names.map((each) => this.#store.count(indexes.inState(status, each))));
      return counts.reduce((sum, count) => sum + count, 0);
    };
    const [pending, processing, orphaned, completed] = await Promise.all(
      (['pending', 'processing', 'orphaned', 'completed'] as const).map(total),
    );
    const [failed, cancelled, deadLetter] = await Promise.all(
      (['failed', 'cancelled', 'dead_letter'] as const).map(total),
    );
    return {
      pending: pending ?? 0,
      processing: processing ?? 0,
      orphaned: orphaned ?? 0,
      completed: completed ?? 0,
      failed: failed ?? 0,
      cancelled: cancelled ?? 0,
      dead_letter: deadLetter ?? 0,
    };
  };

  /**
   * Looks through all tasks of a name, whatever their state, for items that are kept twice or counted but not kept, and
   * for failed documents that several tasks stand for. It changes nothing; lists are empty when all is well. Values are
   * not opened. Tasks that change meanwhile may be met twice, or not at all.
   * @throws `INVALID_ID`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example
   * const { items, duplicateItems, unreadable } = await recovery.tasks.findDuplicates('invoice');
   * console.log(`${items} items, ${duplicateItems.length} twice, ${unreadable} unreadable`);
   */
  readonly findDuplicates = async (name: string): Promise<DuplicateReport> => {
    checkId('The task name', name);
    await this.#store.look();
    return new DuplicateSearch(this.#store, name).run();
  };

  /** The task names that the namespace has seen. @throws `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE` */
  readonly names = async (): Promise<string[]> => {
    await this.#store.look();
    return this.allNames();
  };

  /** The same for those who have looked already. @internal */
  async allNames(): Promise<string[]> {
    const names: string[] = [];
    for await (const page of this.#store.pages(this.#store.home, indexes.names)) {
      for (const { id } of page.entries) names.push(id);
    }
    return names;
  }

  async #places({ name, status, group }: ListOptions): Promise<Place[]> {
    if (group !== undefined) {
      if (name !== undefined || status !== undefined)
        throw new RecoveryError(
          'INVALID_OPTION',
          'tasks.list: give "group", or "name" and "status", not both.',
        );
      return this.#store.partitions.map((partition) => ({ partition, index: indexes.group(group) }));
    }
    const names = name === undefined ? await this.allNames() : [name];
    const statuses = status === undefined ? TASK_STATUSES : [status];
    return statuses.flatMap((state) =>
      names.flatMap((each) =>
        this.#store.partitions.map((partition) => ({ partition, index: indexes.inState(state, each) })),
      ),
    );
  }

  async #read(partition: string, ids: readonly string[]): Promise<TaskRecord[]> {
    const { records } = await this.#store.readEach(partition, ids.map(keys.head));
    return records.flatMap((record, index) => readable(ids[index], record));
  }
}

function readable(id: string | undefined, record: StoredRecord | RecoveryError | null): TaskRecord[] {
  if (record === null || record instanceof Error || id === undefined) return [];
  try {
    const { task, purged } = decodeHead(id, record);
    return purged === null ? [task] : [];
  } catch {
    return [];
  }
}
