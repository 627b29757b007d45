/**
 * This process as a worker: its record in the storage, the slot that it holds, and the check that the namespace is laid
 * out as this client believes. All of it lives in the namespace's first partition.
 */
import { isRecoveryError, kindOf, RecoveryError } from '../errors.js';
import { log } from '../log.js';
import type { Draft } from '../state/draft.js';
import { OLDEST_FIELD, RUN_FIELD } from '../monitoring/figures.js';
import { indexes, keys } from '../state/keys.js';
import { RecordWriter, refusalError } from '../state/record-writer.js';
import { fenceOf, makeToken } from '../state/token.js';
import type { Fields, StoredRecord } from '../storage/storage.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import { removalOf } from './commits.js';
import type { Engine } from './engine.js';
import { admissionMs, assertOpen, notAfter } from './engine.js';
import type { ProcessIdentity } from './identity.js';
import type { LeaseHolder } from './lease-keeper.js';
import { openNamespace } from './namespace.js';
import { retentionsOf, TaskNames } from './task-names.js';

const TRIES = 20;

export class Worker implements LeaseHolder {
  /** Unique name of this Recovery instance in this process. */
  readonly incarnation: string;
  readonly identity: ProcessIdentity;
  /** True once this process may hold tasks that it doesn't run: it lost one, or never heard how a start ended. */
  mayHoldLost = false;
  #suspects = 0;
  /** Monotonic start of the oldest attempt, as the storage was told last; null: none. */
  #oldestMs: number | null = null;
  readonly #engine: Engine;
  readonly #onConflict: (error: RecoveryError) => void;
  readonly #names: TaskNames;
  #opening: Promise<RecordWriter> | null = null;
  #writer: RecordWriter | null = null;
  #slotFence: number | null = null;
  #conflict: RecoveryError | null = null;

  constructor(engine: Engine, identity: ProcessIdentity, onConflict: (error: RecoveryError) => void) {
    this.#engine = engine;
    this.identity = identity;
    this.incarnation = engine.random.nonce();
    this.#onConflict = onConflict;
    this.#names = new TaskNames(engine.clock, () => admissionMs(engine));
  }

  /** The generation of the slot that this worker holds; null without one. */
  get slotFence(): number | null {
    return this.#conflict === null ? this.#slotFence : null;
  }

  /** Whether it has signed on. */
  get isOpen(): boolean {
    return this.#writer !== null;
  }

  get renewedMs(): number {
    return this.#writer?.renewedMs ?? 0;
  }

  /**
   * Resolves once the namespace fits and this worker is known in it. Tried anew after a failure.
   * @throws `LAYOUT_MISMATCH`, `SLOT_CONFLICT`, `STORAGE_UNAVAILABLE`
   */
  async open(): Promise<void> {
    await this.#open();
  }

  /** Whether there is nothing to wait for before a task of that name: every start of a task comes by here. */
  knows(name: string): boolean {
    return this.#writer?.abandoned === false && this.#names.has(name);
  }

  /** Makes a task name known in the namespace, before its first task is; `retentionMs` as in `TaskNames`. */
  async ensureName(name: string, retentionMs: number | null | undefined): Promise<void> {
    try {
      await this.#names.ensure(name, await this.#open(), retentionMs);
    } catch (error) {
      // The storage lost our record since we signed on: sign on again and write the name anew.
      if (!isRecoveryError(error, 'LEASE_LOST')) throw error;
      await this.#names.ensure(name, await this.#open(), retentionMs);
    }
  }

  /** Makes it known, durably, how many suspects this process has on trial. */
  async declareSuspects(count: number): Promise<void> {
    const writer = await this.#open();
    const before = this.#suspects;
    this.#suspects = count;
    try {
      await writer.write((draft) => draft.set(keys.worker(this.incarnation), { suspects: String(count) }));
    } catch (error) {
      this.#suspects = before;
      throw error;
    }
  }

  /** None any more; it is enough when that is known with the next renewal. */
  noSuspects(): void {
    this.#suspects = 0;
    this.#writer?.note((draft) => draft.set(keys.worker(this.incarnation), { suspects: '0' }));
  }

  /** When orphans were looked for last: known with the next renewal. */
  noteRun(): void {
    this.#writer?.note((draft) => draft.set(keys.recoveryRun, { [RUN_FIELD]: { fromNow: 0 } }));
  }

  renew(): void {
    this.#noteOldest();
    // A writer dies of an error that is not worth a retry. The next beat signs on again, lest the slot go unwatched.
    if (this.#writer?.abandoned === true) void this.#open().catch(() => {});
    else this.#writer?.renew();
  }

  /** The record's own lease means nothing to the tasks, except with a slot: a silent holder may have been replaced. */
  expired(): void {
    this.renew();
  }

  /** Takes the worker off the books, once it holds nothing any more. */
  async close(holdsNothing: boolean): Promise<void> {
    await this.#opening?.catch(() => {});
    const writer = this.#writer;
    this.#engine.leases.delete(this);
    if (writer === null) return;
    const { store, queue } = this.#engine;
    const last = await writer.write((draft) =>
      draft.index(indexes.workers, this.incarnation, { fromNow: 0 }),
    );
    writer.kill(new RecoveryError('SHUT_DOWN', 'The worker has signed off.'));
    if (!holdsNothing) return;
    const { records } = await store.read(store.home, [keys.worker(this.incarnation)], [TOKEN_FIELD]);
    const token = records[0]?.get(TOKEN_FIELD);
    if (token === undefined) return;
    await queue.commit(store.home, removalOf(this.incarnation, token, last + store.callDeadlineMs));
  }

  /** When the oldest of what runs here began, whenever that is another one. */
  #noteOldest(): void {
    const [oldest] = this.#engine.attempts;
    const sinceMs = oldest?.startedMs ?? null;
    if (sinceMs === this.#oldestMs) return;
    this.#oldestMs = sinceMs;
    const { store } = this.#engine;
    const at = sinceMs === null ? '' : String(store.estimatedNowMs(store.home, sinceMs));
    this.#writer?.note((draft) => draft.set(keys.worker(this.incarnation), { [OLDEST_FIELD]: at }));
  }

  #open(): Promise<RecordWriter> {
    if (this.#conflict !== null) return Promise.reject(this.#conflict);
    if (this.#writer?.abandoned === true && this.#engine.closing === null) {
      this.#writer = null;
      this.#opening = null;
    }
    if (this.#opening === null) {
      const opening = this.#register();
      this.#opening = opening;
      opening.catch(() => {
        if (this.#opening === opening) this.#opening = null;
      });
    }
    return this.#opening;
  }

  async #register(): Promise<RecordWriter> {
    await openNamespace(this.#engine);
    await this.#takeSlot();
    const { random, clock, queue, store, settings, leases } = this.#engine;
    const key = keys.worker(this.incarnation);
    const fence = store.estimatedNowMs(store.home);
    let nonce = '';
    let expect: string | null = null;
    let renewedMs = 0;
    for (let tries = 0; ; tries += 1) {
      assertOpen(this.#engine);
      nonce = random.nonce();
      renewedMs = clock.monotonicMs();
      const { outcome } = await queue.commit(store.home, {
        guard: { key, expect, next: makeToken(fence, nonce, 0) },
        notAfter: notAfter(this.#engine, store.home),
        set: [{ key, fields: this.#fields() }],
        index: [
          { index: indexes.workers, id: this.incarnation, score: { fromNow: settings.leaseMs } },
          ...retentionsOf(this.#engine.handlers.values()),
        ],
      });
      if (outcome.status === 'applied' || outcome.status === 'duplicate') break;
      if (outcome.status === 'refused' || tries >= TRIES)
        throw refusalError(outcome.status === 'conflict' ? { status: 'expired' } : outcome);
      // Nobody else writes this key: it is an earlier try whose outcome was unknown, or was restored from a snapshot.
      // And after a jump of the storage's clock the estimate was off; the answer has just put it right.
      if (outcome.status === 'conflict') expect = outcome.current;
    }
    this.#names.clear();
    this.#oldestMs = null;
    const start = { partition: store.home, key, fence, nonce, renewedMs, renewAfterMs: settings.leaseMs / 3 };
    const writer = new RecordWriter(start, queue, this.#writerOwner(), clock);
    this.#writer = writer;
    leases.add(this);
    return writer;
  }

  #fields(): Fields {
    const { host, bootId, pidNamespace, timeNamespace, pid, startTime } = this.identity;
    const { slot } = this.#engine.settings;
    return {
      host,
      bootId,
      pidNamespace,
      timeNamespace,
      pid: String(pid),
      startTime,
      startedAt: { fromNow: 0 },
      suspects: String(this.#suspects),
      ...(slot === null ? {} : { slot, slotFence: String(this.#slotFence ?? 0) }),
    };
  }

  #writerOwner(): ConstructorParameters<typeof RecordWriter>[2] {
    const { slot, leaseMs } = this.#engine.settings;
    return {
      renew: (draft: Draft) => {
        draft.index(indexes.workers, this.incarnation, { fromNow: leaseMs });
        return slot === null ? [] : [keys.slot(slot)];
      },
      renewed: (_firstSentMs, observed) => {
        if (slot !== null) this.#checkSlot(observed[0] ?? null);
      },
      lost: () => {
        log.recovery('the worker record is gone or changed; signing on again');
        this.#engine.leases.delete(this);
        this.#writer = null;
        this.#opening = null;
        // At once: a twin with our slot takes the record away, and a worker without one can't be proven dead.
        if (this.#engine.closing === null)
          this.#open().catch((error: unknown) => log.recovery('%s', kindOf(error)));
        const message = 'The worker record was removed from the storage; sign on again.';
        return new RecoveryError('LEASE_LOST', message, { retryable: true });
      },
    };
  }

  async #takeSlot(): Promise<void> {
    const { slot } = this.#engine.settings;
    if (slot === null) return;
    const { store, queue, random } = this.#engine;
    const key = keys.slot(slot);
    for (let tries = 0; tries < TRIES; tries += 1) {
      const { records } = await store.read(store.home, [key]);
      // Whoever has begun to shut down must not take the slot from its successor.
      assertOpen(this.#engine);
      const token = records[0]?.get(TOKEN_FIELD) ?? null;
      const holder = records[0]?.get('holder');
      // Signing on again after the storage lost our record: somebody else may have come in the meantime.
      if (this.#slotFence !== null && holder !== undefined && holder !== this.incarnation) {
        throw this.#conflicted(holder);
      }
      const fence = Math.max(
        store.estimatedNowMs(store.home),
        (token === null ? 0 : (fenceOf(token) ?? 0)) + 1,
      );
      const { outcome } = await queue.commit(store.home, {
        guard: { key, expect: token, next: makeToken(fence, random.nonce(), 0) },
        notAfter: notAfter(this.#engine, store.home),
        set: [{ key, fields: { holder: this.incarnation, fence: String(fence) } }],
      });
      if (outcome.status === 'refused') throw refusalError(outcome);
      if (outcome.status === 'applied' || outcome.status === 'duplicate') {
        this.#slotFence = fence;
        return;
      }
    }
    throw this.#conflicted('several at once');
  }

  #checkSlot(record: StoredRecord | null): void {
    const holder = record?.get('holder');
    if (holder === undefined || holder === this.incarnation) return;
    this.#conflicted(holder);
  }

  /** Stops everything; returns the error to stop with. */
  #conflicted(holder: string): RecoveryError {
    const { slot } = this.#engine.settings;
    const conflict = new RecoveryError(
      'SLOT_CONFLICT',
      `Another worker (${holder}) has taken the slot "${slot}". Two processes must never share one; this one has stopped.`,
      { details: { slot, holder } },
    );
    this.#conflict = conflict;
    this.#engine.leases.delete(this);
    this.#onConflict(conflict);
    return conflict;
  }
}
