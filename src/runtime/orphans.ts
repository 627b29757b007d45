/**
 * Finds tasks whose owner is gone: by proof of death, by the slot, by a lease that ran out. Death is judged once a
 * worker, then what it holds is taken; leases are read from an index a task name. Nothing is written here.
 */
import type { OrphanCause, TaskStatus } from '../domain/task.js';
import { RecoveryError } from '../errors.js';
import type { Control } from '../state/control.js';
import type { Head } from '../state/head.js';
import { indexes } from '../state/keys.js';
import type { IndexPage } from '../state/store.js';
import type { StoredRecord } from '../storage/storage.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import { ahead, atMost, later, unlessFull } from './ahead.js';
import type { Ahead } from './ahead.js';
import type { Engine } from './engine.js';
import { readTasks } from './heads.js';
import { isProvablyDead } from './identity.js';
import type { ProcessTable } from './identity.js';
import { identityOf, readWorkers, suspectsOf } from './worker-records.js';

/** How a task came to be free to take. */
export interface Freed {
  readonly cause: OrphanCause;
  /** How many suspects its owner had on trial, as that one's record says. */
  readonly ownerSuspects: number;
}

/** A task whose owner is gone, and that is not in the recovery queue yet. */
export interface Orphan extends Freed {
  readonly head: Head;
  /** As it was read with the head; null when it could not be. */
  readonly control: Control | null;
}

/** Something found: an orphan, or a record that can't be read. */
export type Candidate =
  | ({ readonly kind: 'orphan' } & Orphan)
  /** A dead worker's, whose name has no function here: left for somebody else, but told. */
  | { readonly kind: 'unhandled'; readonly head: Head }
  | {
      readonly kind: 'corrupt';
      readonly taskId: string;
      readonly name: string | null;
      readonly owner: string | null;
      readonly error: RecoveryError;
    };

/** Some of what was found, and how many more there are at most; Infinity where that is not known. */
export interface Found {
  readonly candidates: readonly Candidate[];
  readonly left: number;
}

/** A worker that is gone for certain. */
export interface DeadWorker {
  readonly incarnation: string;
  readonly token: string | null;
  /** Null: only long silent. What it still holds, if anything, is a matter for the leases. */
  readonly cause: OrphanCause | null;
  /** How many suspects it had on trial. */
  readonly suspects: number;
}

/** A silent worker's record is forgotten after this long, in ms, when it holds nothing. */
const FORGET_AFTER_MS = 24 * 3_600_000;

/** As a candidate, before it is known what its owner had on trial. */
type Untried =
  Exclude<Candidate, { kind: 'orphan' }> | ({ readonly kind: 'orphan' } & Omit<Orphan, 'ownerSuspects'>);

/** This process itself: what it holds without running it. */
const OWN = { token: null, cause: 'own', suspects: 0 } as const;

/** A failed document's next retry stays one, through however many jobs. */
function lostInQueue({ task }: Head): OrphanCause {
  return task.orphanCause === 'requeued' ? 'requeued' : 'not_started';
}

/** Leases and hand-overs that are over. */
const OVER = { to: { fromNow: 0 } } as const;

/** The tasks of one name whose lease or hand-over is over. */
interface Overdue {
  readonly name: string;
  readonly running: Ahead<IndexPage>;
  readonly handedOver: Ahead<IndexPage>;
}

/** Of more dead workers than these, what they hold is not asked for all at once. */
const MOST_AHEAD = 8;

/** So many of the first tasks are read by themselves: they can run while the others are read. */
const FIRST_READ = 16;

export class OrphanFinder {
  /** How many other workers there were at the last look. */
  others = 0;
  readonly #engine: Engine;
  readonly #table: ProcessTable;

  constructor(engine: Engine, table: ProcessTable) {
    this.#engine = engine;
    this.#table = table;
  }

  /**
   * The other workers that are gone for certain, or were not heard from for a day.
   * @param planning true for a dry run, which looks at the slot as if this worker had taken it already
   */
  async deadWorkers(planning = false): Promise<DeadWorker[]> {
    const { store, worker } = this.#engine;
    const dead: DeadWorker[] = [];
    let count = 0;
    for await (const page of store.pages(store.home, indexes.workers)) {
      const others = page.entries.filter(({ id }) => id !== worker.incarnation);
      count += others.length;
      if (others.length === 0) continue;
      const records = await readWorkers(
        store,
        others.map(({ id }) => id),
      );
      for (const [index, { id, score }] of others.entries()) {
        const record = records[index] ?? null;
        const cause = record === null ? null : this.#judge(record, planning);
        if (cause === null && score > page.nowMs - FORGET_AFTER_MS) continue;
        const token = record?.get(TOKEN_FIELD) ?? null;
        dead.push({ incarnation: id, token, cause, suspects: suspectsOf(record) });
      }
    }
    this.others = count;
    return dead;
  }

  /**
   * Everything that is free to take and not in the recovery queue yet, a page at a time.
   * @param judgeLeases false while the clocks are not to be trusted
   */
  async *find(
    names: ReadonlySet<string>,
    dead: readonly DeadWorker[],
    judgeLeases: boolean,
  ): AsyncGenerator<Found> {
    const { store, worker } = this.#engine;
    const owners = dead.filter(({ cause }) => cause !== null);
    if (worker.mayHoldLost) owners.push({ ...OWN, incarnation: worker.incarnation });
    const trials = new Map<string, number>();
    for (const partition of store.partitions) {
      const overdue = [...(judgeLeases ? names : [])].map((name): Overdue => ({
        name,
        running: ahead(store.pages(partition, indexes.inState('processing', name), OVER)),
        handedOver: ahead(store.pages(partition, indexes.inState('pending', name), OVER)),
      }));
      const held = owners.map((owner) => {
        const pages = store.pages(partition, indexes.held(owner.incarnation));
        return { owner, index: owners.length > MOST_AHEAD ? later(pages) : ahead(pages) };
      });
      const last = partition === store.partitions.at(-1);
      for (const [at, { owner, index }] of held.entries()) {
        trials.set(owner.incarnation, owner.suspects);
        const rest = [
          ...held.slice(at + 1).map((each) => each.index),
          ...overdue.flatMap(({ running, handedOver }) => [running, handedOver]),
        ];
        for await (const page of index.pages) {
          const ids = page.entries.map(({ id }) => id);
          const left = last ? unlessFull(ids.length) + (await atMost(rest)) : Infinity;
          yield* this.#heldBy(owner, names, partition, ids, left, trials);
        }
      }
      for (const each of overdue) yield* this.#overdue(each, names, partition, trials);
    }
  }

  /** Whose leases and hand-overs are over, of one name. */
  async *#overdue(
    { name, running, handedOver }: Overdue,
    names: ReadonlySet<string>,
    partition: string,
    trials: Map<string, number>,
  ): AsyncGenerator<Found> {
    const { incarnation } = this.#engine.worker;
    for await (const page of running.pages) {
      const ids = page.entries.map(({ id }) => id);
      const found = await this.#orphans(names, partition, ids, null, name, (head) => {
        if ((head.task.leaseUntilMs ?? Infinity) > page.nowMs) return null;
        return head.task.owner === incarnation ? 'own' : 'lease_over';
      });
      yield { candidates: await this.#withTrials(found, trials), left: Infinity };
    }
    for await (const page of handedOver.pages) {
      const ids = page.entries.map(({ id }) => id);
      const judge = (head: Head): OrphanCause | null =>
        (head.task.dueAtMs ?? Infinity) <= page.nowMs ? lostInQueue(head) : null;
      const found = await this.#orphans(names, partition, ids, null, name, judge, 'pending');
      const candidates = found.map((each) => (each.kind === 'orphan' ? { ...each, ownerSuspects: 0 } : each));
      yield { candidates, left: Infinity };
    }
  }

  /** How the owner of a single task is known to be gone; null while it may be alive. */
  async freed(head: Head, nowMs: number): Promise<Freed | null> {
    const { store, worker } = this.#engine;
    const { owner, leaseUntilMs, status } = head.task;
    if (status === 'orphaned') return { cause: head.task.orphanCause ?? 'lease_over', ownerSuspects: 0 };
    if (status === 'failed') return { cause: 'retried', ownerSuspects: 0 };
    // Whoever is to begin it may as well be this process; its job finds it running then.
    if (status === 'pending') return { cause: 'dispatched', ownerSuspects: 0 };
    if (status !== 'processing') return null;
    if (owner === worker.incarnation) return { cause: 'own', ownerSuspects: 0 };
    const [record = null] = owner === null ? [] : await readWorkers(store, [owner]);
    const over = (leaseUntilMs ?? 0) <= nowMs;
    const cause = over ? 'lease_over' : record && this.#judge(record);
    return cause === null ? null : { cause, ownerSuspects: suspectsOf(record) };
  }

  /** What a dead worker held, of a page; `left`: this page, and whatever may come after it. */
  async *#heldBy(
    { incarnation, cause }: DeadWorker,
    names: ReadonlySet<string>,
    partition: string,
    ids: readonly string[],
    left: number,
    trials: Map<string, number>,
  ): AsyncGenerator<Found> {
    const parts = ids.length > 2 * FIRST_READ ? [ids.slice(0, FIRST_READ), ids.slice(FIRST_READ)] : [ids];
    const reading = parts.map((part) =>
      this.#orphans(names, partition, part, incarnation, null, (head) =>
        head.task.owner === incarnation ? cause : null,
      ),
    );
    // Told when it is its turn.
    for (const found of reading) found.catch(() => {});
    let come = 0;
    for (const [part, found] of reading.entries()) {
      come += parts[part]?.length ?? 0;
      yield { candidates: await this.#withTrials(await found, trials), left: left - come };
    }
  }

  /** Says of each orphan how many suspects its owner had on trial; reads each owner's record once. */
  async #withTrials(found: readonly Untried[], trials: Map<string, number>): Promise<Candidate[]> {
    const owners = new Set(
      found.flatMap((each) => (each.kind === 'orphan' ? (each.head.task.owner ?? []) : [])),
    );
    const unknown = [...owners].filter((owner) => !trials.has(owner));
    if (unknown.length > 0) {
      const records = await readWorkers(this.#engine.store, unknown);
      for (const [index, owner] of unknown.entries()) trials.set(owner, suspectsOf(records[index] ?? null));
    }
    return found.map((each) =>
      each.kind === 'orphan' ? { ...each, ownerSuspects: trials.get(each.head.task.owner ?? '') ?? 0 } : each,
    );
  }

  #judge(record: StoredRecord, planning = false): OrphanCause | null {
    const { worker, settings } = this.#engine;
    if (isProvablyDead(identityOf(record), worker.identity, this.#table)) return 'owner_dead';
    const slotFence = worker.slotFence ?? (planning && !worker.isOpen ? Infinity : null);
    const earlier =
      record.get('slot') === settings.slot && Number(record.get('slotFence')) < (slotFence ?? 0);
    return settings.slot !== null && slotFence !== null && earlier ? 'slot_taken_over' : null;
  }

  async #orphans(
    names: ReadonlySet<string>,
    partition: string,
    ids: readonly string[],
    owner: string | null,
    name: string | null,
    judge: (head: Head) => OrphanCause | null,
    // It may have moved on while it was read: a head that was handed over still names its last owner.
    status: TaskStatus = 'processing',
  ): Promise<Untried[]> {
    // What this process is running, starting or claiming at this moment is never adopted.
    const foreign = ids.filter((id) => !this.#engine.flights.has(id));
    const read = await readTasks(this.#engine.store, partition, foreign);
    return foreign.flatMap((taskId, index): Untried[] => {
      // It may have taken off while it was read: then the head is that of the live attempt.
      if (this.#engine.flights.has(taskId)) return [];
      const { head = null, control = null } = read[index] ?? {};
      if (head === null || head instanceof Error) {
        const error = head ?? new RecoveryError('CORRUPT_RECORD', `The head of task "${taskId}" is gone.`);
        return [{ kind: 'corrupt', taskId, name, owner, error }];
      }
      const cause = head.task.status === status ? judge(head) : null;
      if (cause === null) return [];
      if (names.has(head.task.name)) return [{ kind: 'orphan', head, control, cause }];
      return this.#engine.handlers.has(head.task.name) ? [] : [{ kind: 'unhandled', head }];
    });
  }
}
