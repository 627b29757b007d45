/**
 * Finds tasks whose owner is gone: by proof of death, by the slot, by a lease that ran out. Death is judged once a
 * worker, then what it holds is taken; leases are read from an index a task name. Nothing is written here.
 */
import type { OrphanCause, TaskStatus } from '../domain/task.js';
import { RecoveryError } from '../errors.js';
import type { Control } from '../state/control.js';
import type { Head } from '../state/head.js';
import { indexes, keys } from '../state/keys.js';
import type { Store } from '../state/store.js';
import type { StoredRecord } from '../storage/storage.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import type { Engine } from './engine.js';
import { readTasks } from './heads.js';
import { isProvablyDead } from './identity.js';
import type { ProcessIdentity, ProcessTable } from './identity.js';

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

function identityOf(record: StoredRecord): ProcessIdentity {
  const text = (field: string): string => record.get(field) ?? '';
  return {
    host: text('host'),
    bootId: text('bootId'),
    pidNamespace: text('pidNamespace'),
    timeNamespace: text('timeNamespace'),
    pid: Number(text('pid')),
    startTime: text('startTime'),
  };
}

/** Reads workers' records. One that something else has written over proves nothing, and doesn't spoil the others. */
async function readWorkers(store: Store, ids: readonly string[]): Promise<readonly (StoredRecord | null)[]> {
  const { records } = await store.readEach(store.home, ids.map(keys.worker));
  return records.map((record) => (record instanceof Error ? null : record));
}

/** As a candidate, before it is known what its owner had on trial. */
type Found =
  Exclude<Candidate, { kind: 'orphan' }> | ({ readonly kind: 'orphan' } & Omit<Orphan, 'ownerSuspects'>);

/** This process itself: what it holds without running it. */
const OWN = { token: null, cause: 'own', suspects: 0 } as const;

/** A failed document's next retry stays one, through however many jobs. */
function lostInQueue({ task }: Head): OrphanCause {
  return task.orphanCause === 'requeued' ? 'requeued' : 'not_started';
}

function suspectsOf(record: StoredRecord | null): number {
  const count = Number(record?.get('suspects') ?? 0);
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}

/** Leases and hand-overs that are over. */
const OVER = { to: { fromNow: 0 } } as const;

/** The same pages, with the first one asked for now. */
function ahead<T>(pages: AsyncGenerator<T>): AsyncGenerator<T> {
  const asked = pages.next();
  // Told when it is its turn.
  asked.catch(() => {});
  return (async function* () {
    const first = await asked;
    if (first.done === true) return;
    yield first.value;
    yield* pages;
  })();
}

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
  ): AsyncGenerator<Candidate[]> {
    const { store, worker } = this.#engine;
    const owners = dead.filter(({ cause }) => cause !== null);
    if (worker.mayHoldLost) owners.push({ ...OWN, incarnation: worker.incarnation });
    const trials = new Map<string, number>();
    for (const partition of store.partitions) {
      const overdue = [...(judgeLeases ? names : [])].map((name) => ({
        name,
        running: ahead(store.pages(partition, indexes.inState('processing', name), OVER)),
        handedOver: ahead(store.pages(partition, indexes.inState('pending', name), OVER)),
      }));
      for (const { incarnation, cause, suspects } of owners) {
        trials.set(incarnation, suspects);
        for await (const page of store.pages(partition, indexes.held(incarnation))) {
          const ids = page.entries.map(({ id }) => id);
          const found = await this.#orphans(names, partition, ids, incarnation, null, (head) =>
            head.task.owner === incarnation ? cause : null,
          );
          yield await this.#withTrials(found, trials);
        }
      }
      for (const { name, running, handedOver } of overdue) {
        for await (const page of running) {
          const ids = page.entries.map(({ id }) => id);
          const found = await this.#orphans(names, partition, ids, null, name, (head) => {
            if ((head.task.leaseUntilMs ?? Infinity) > page.nowMs) return null;
            return head.task.owner === worker.incarnation ? 'own' : 'lease_over';
          });
          yield await this.#withTrials(found, trials);
        }
        for await (const page of handedOver) {
          const ids = page.entries.map(({ id }) => id);
          const found = await this.#orphans(
            names,
            partition,
            ids,
            null,
            name,
            (head) => ((head.task.dueAtMs ?? Infinity) <= page.nowMs ? lostInQueue(head) : null),
            'pending',
          );
          yield found.map((each) => (each.kind === 'orphan' ? { ...each, ownerSuspects: 0 } : each));
        }
      }
    }
  }

  /**
   * In how many ms the first lease or hand-over is over, if nothing happens before; Infinity without one.
   * @param sinceMs how long ago it was looked for those that are over: what has ended meanwhile counts, too
   */
  async nextEnd(names: ReadonlySet<string>, sinceMs: number): Promise<number> {
    const { store, handlers } = this.#engine;
    const queues = [...names].flatMap((name) => {
      const handedOver = handlers.get(name)?.dispatch ? [indexes.inState('pending', name)] : [];
      return [indexes.inState('processing', name), ...handedOver];
    });
    const first = { from: { fromNow: -Math.ceil(sinceMs) }, limit: 1 };
    const looks = store.partitions.flatMap((partition) =>
      queues.map(async (index) => {
        const { entries, nowMs } = await store.range(partition, index, first);
        return (entries[0]?.score ?? Infinity) - nowMs;
      }),
    );
    return Math.min(...(await Promise.all(looks)), Infinity);
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

  /** Says of each orphan how many suspects its owner had on trial; reads each owner's record once. */
  async #withTrials(found: readonly Found[], trials: Map<string, number>): Promise<Candidate[]> {
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
  ): Promise<Found[]> {
    // What this process is running, starting or claiming at this moment is never adopted.
    const foreign = ids.filter((id) => !this.#engine.flights.has(id));
    const read = await readTasks(this.#engine.store, partition, foreign);
    return foreign.flatMap((taskId, index): Found[] => {
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
