/**
 * One run of document recovery: removes what is too old, gives up what has no retries left, tries what is due, as many at
 * once as there are slots. A redrive tries what a filter names instead, due or not. No run tries a document twice, nor
 * one that was tried by somebody else since it began.
 */
import { kindOf } from '../errors.js';
import { isRedrive } from '../domain/document-recovery.js';
import type { DocumentFilter, DocumentSettings } from '../domain/document-recovery.js';
import { log } from '../log.js';
import { countDue, dueSources, waitingPlaces } from '../state/eligibility.js';
import type { Source } from '../state/eligibility.js';
import { indexOf } from '../state/failure-filter.js';
import { failureIndexes } from '../state/failures.js';
import type { Head } from '../state/head.js';
import type { RangeQuery } from '../storage/storage.js';
import { endUnowned } from './commits.js';
import { givenUp, retryDocument } from './document-retry.js';
import type { Engine, Handler } from './engine.js';
import { forgetValues } from './document-values.js';
import { readHeads } from './heads.js';
import type { Freed, OrphanFinder } from './orphans.js';
import { purge } from './purging.js';
import type { ReportBuilder, TaskReport } from './report.js';
import type { Slots } from './slots.js';
import type { Starter } from './starter.js';

const RETRIED: Freed = { cause: 'retried', ownerSuspects: 0 };

/** The function for a document; undefined when there is none here. */
export type HandlerOf = (head: Head) => Handler | undefined;

export interface RunParts {
  readonly engine: Engine;
  readonly starter: Starter;
  readonly settings: DocumentSettings;
  readonly slots: Slots;
  readonly handlerOf: HandlerOf;
  /** There is no function here at all. */
  readonly isIdle: boolean;
  /** Throws when something of a document can't be read here. */
  readonly readable: (head: Head) => Promise<unknown>;
  /** Set where no worker takes back what was being tried. */
  readonly finder: OrphanFinder | null;
  /** Tells all runs that are under way in this process that a document is being tried, and that it was. */
  readonly tries: (taskId: string) => void;
}

/** For so long after its beginning, in ms, a run knows by name what was tried: times are too coarse to tell. */
const COARSE_MS = 1_000;

export class DocumentRun {
  /** What the report has no number for. */
  readonly counts: { attempted: number; succeeded: number; failed: number; expired: number } = {
    attempted: 0,
    succeeded: 0,
    failed: 0,
    expired: 0,
  };
  readonly #parts: RunParts;
  readonly #filter: DocumentFilter;
  readonly #report: ReportBuilder;
  readonly #startedMs = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  readonly #triedEarly = new Set<string>();
  #total = 0;
  #stopped = false;
  #failure: { readonly error: unknown } | null = null;

  constructor(parts: RunParts, filter: DocumentFilter, report: ReportBuilder) {
    this.#parts = parts;
    this.#filter = filter;
    this.#report = report;
  }

  /** Begins nothing more. What is in hand goes on. */
  stop(): void {
    this.#stopped = true;
  }

  /** A document is being tried, or was, by this run or another one. */
  noteTry(taskId: string): void {
    const partition = this.#parts.engine.store.partitionOf(taskId);
    const sinceMs = this.#parts.engine.store.estimatedNowMs(partition) - this.#startOf(taskId);
    if (sinceMs <= COARSE_MS) this.#triedEarly.add(taskId);
  }

  /** Resolves once all that it began has ended. @throws `STORAGE_UNAVAILABLE` and what else keeps it from going on */
  async run(): Promise<void> {
    const { engine, settings } = this.#parts;
    const { store } = engine;
    for (const partition of store.partitions) {
      this.#startedMs.set(partition, (await store.read(partition, ['clock'])).nowMs);
    }
    try {
      if (isRedrive(this.#filter)) {
        this.#total = await this.#countNamed();
        await this.#tryNamed();
      } else {
        await this.#expire(failureIndexes.open, settings.retentionMs);
        await this.#expire(failureIndexes.dead, settings.deadLetterRetentionMs);
        await forgetValues(engine, Math.max(settings.retentionMs, settings.deadLetterRetentionMs));
        await this.#giveUp();
        this.#total = await countDue(store, settings);
        await this.#takeBack();
        await this.#tryDue();
      }
    } finally {
      await Promise.all(this.#running);
    }
    if (this.#failure !== null) throw this.#failure.error;
    if (!isRedrive(this.#filter) && this.counts.failed > 0) await this.#giveUp();
  }

  get #isOver(): boolean {
    return this.#stopped || this.#failure !== null || this.#parts.engine.closing !== null;
  }

  /** Takes away what is too old. One that is being tried right now is left to that. */
  async #expire(index: string, retentionMs: number): Promise<void> {
    const { engine } = this.#parts;
    await this.#each([{ index, to: { fromNow: -retentionMs } }], async (head) => {
      const { name, status } = head.task;
      if (this.#filter.names?.includes(name) === false) return;
      if (head.failed === null || (status !== 'failed' && status !== 'dead_letter')) return;
      if (await purge(engine, head)) this.counts.expired += 1;
    });
  }

  /** Makes dead letters of what has had all its retries. */
  async #giveUp(): Promise<void> {
    const { engine, settings, isIdle } = this.#parts;
    if (isIdle) return;
    for (const partition of engine.store.partitions) {
      const places = await waitingPlaces(engine.store, partition, settings);
      const spent = places.filter(({ retryCount }) => retryCount >= settings.maxRetries);
      await this.#eachIn(
        partition,
        spent.map(({ index }) => ({ index })),
        async (head) => {
          const { task, failed } = head;
          const { taskId, name, status, crashes } = task;
          const retries = failed?.failure.retryCount ?? 0;
          if (status !== 'failed' || retries < settings.maxRetries || !this.#isOurs(head)) return;
          const reason = givenUp(retries, task.error);
          if (!(await endUnowned(engine, head, 'dead_letter', crashes, reason, givenUp(retries, null))))
            return;
          this.#report.add({ taskId, name, decision: 'dead_letter', reason, outcome: 'dead_letter' });
        },
      );
    }
  }

  async #tryDue(): Promise<void> {
    const { engine, settings } = this.#parts;
    for (const partition of engine.store.partitions) {
      const sources = await dueSources(engine.store, partition, settings);
      await this.#eachIn(partition, sources, async (head) => {
        const { failed, task } = head;
        if (task.status !== 'failed' || failed === null) return;
        if (failed.failure.retryCount < settings.maxRetries) await this.#try(head, RETRIED);
      });
    }
  }

  async #countNamed(): Promise<number> {
    const { taskIds } = this.#filter;
    return taskIds === undefined
      ? this.#parts.engine.store.count(indexOf(this.#filter))
      : new Set(taskIds).size;
  }

  async #tryNamed(): Promise<void> {
    const { store } = this.#parts.engine;
    const { taskIds } = this.#filter;
    const attempt = (head: Head): Promise<void> => this.#try(head, null);
    if (taskIds === undefined) return this.#each([{ index: indexOf(this.#filter) }], attempt);
    for (const taskId of new Set(taskIds)) {
      if (this.#isOver) return;
      const [head = null] = await readHeads(store, store.partitionOf(taskId), [taskId]);
      if (head !== null && !(head instanceof Error)) await attempt(head);
    }
  }

  /** Goes on with attempts whose processes are gone, and with what was put back: without workers nobody else does. */
  async #takeBack(): Promise<void> {
    const { engine, finder } = this.#parts;
    if (finder === null) return;
    await this.#each([{ index: failureIndexes.trying }], async (head, partition) => {
      const nowMs = engine.store.estimatedNowMs(partition);
      if (head.failed === null || (head.task.dueAtMs ?? 0) > nowMs) return;
      const freed = await finder.freed(head, nowMs);
      if (freed !== null && freed.cause !== 'retried') await this.#try(head, freed);
    });
  }

  /** Begins an attempt as soon as there is a slot, if the document is one for this run. `freed`: null for a redrive. */
  async #try(head: Head, freed: Freed | null): Promise<void> {
    const { engine, starter, settings, slots, handlerOf, tries, readable } = this.#parts;
    const { taskId, name } = head.task;
    if (!this.#isWanted(head, freed)) return;
    this.#report.discovered(1);
    const handler = handlerOf(head);
    if (handler === undefined) {
      const reason = `There is no function here that takes "${name}" up by itself.`;
      this.#report.add({ taskId, name, decision: 'skip', reason, outcome: 'skipped' });
      return;
    }
    await slots.acquire();
    if (this.#isOver) return slots.release();
    const retry = { handler, head, freed, timeoutMs: settings.attemptTimeoutMs, readable };
    tries(taskId);
    const running = retryDocument(engine, starter, retry)
      .then((tried) => {
        tries(taskId);
        this.#tried({ taskId, name, ...tried });
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        slots.release();
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  #isOurs(head: Head): boolean {
    const { names } = this.#filter;
    if (names !== undefined && !names.includes(head.task.name)) return false;
    return this.#parts.handlerOf(head) !== undefined;
  }

  #isWanted(head: Head, freed: Freed | null): boolean {
    const { task, failed } = head;
    const { names, fingerprint, category, afterVersion } = this.#filter;
    const { taskId, name, status, endedAtMs } = task;
    if (failed === null) return false;
    if (freed === null && status !== 'failed' && status !== 'dead_letter') return false;
    if (names !== undefined && !names.includes(name)) return false;
    const { failure } = failed;
    if (fingerprint !== undefined && failure.fingerprint !== fingerprint) return false;
    if (category !== undefined && failure.category !== category) return false;
    if (afterVersion !== undefined) {
      const version = this.#parts.handlerOf(head)?.version;
      if (version === failure.version || version === afterVersion) return false;
    }
    return (endedAtMs ?? 0) <= this.#startOf(taskId) && !this.#triedEarly.has(taskId);
  }

  /** When this run began, by the clock that the document's times are of. */
  #startOf(taskId: string): number {
    return this.#startedMs.get(this.#parts.engine.store.partitionOf(taskId)) ?? Infinity;
  }

  #tried(task: TaskReport): void {
    const { counts } = this;
    this.#report.add(task);
    // Given up in place of an attempt: it had crashed too often.
    if (task.outcome === 'skipped' || task.outcome === 'dead_letter') return;
    this.#report.started();
    counts.attempted += 1;
    if (task.outcome === 'completed') counts.succeeded += 1;
    if (task.outcome === 'failed') counts.failed += 1;
    const { taskId, name, outcome } = task;
    const { attempted, succeeded, failed } = counts;
    const progress = { taskId, name, outcome, total: this.#total, attempted, succeeded, failed };
    try {
      // An async one: what it rejects with must not end the process.
      Promise.resolve(this.#parts.settings.onProgress?.(progress)).catch(() => {});
    } catch (thrown) {
      log.recovery('onProgress failed: %s', kindOf(thrown));
    }
  }

  async #each(sources: readonly Source[], visit: Visit): Promise<void> {
    for (const partition of this.#parts.engine.store.partitions)
      await this.#eachIn(partition, sources, visit);
  }

  /** Visits the readable heads of index entries, a batch at a time. */
  async #eachIn(partition: string, sources: readonly Source[], visit: Visit): Promise<void> {
    const { engine, settings } = this.#parts;
    for (const { index, ...bounds } of sources) {
      const query: Omit<RangeQuery, 'limit'> = bounds;
      for await (const { entries } of engine.store.pages(partition, index, query, settings.batchSize)) {
        const ids = entries.map(({ id }) => id);
        const heads = await readHeads(engine.store, partition, ids);
        for (const head of heads) {
          if (this.#isOver) return;
          // One that is being removed is gone.
          if (head !== null && !(head instanceof Error) && head.purged === null) await visit(head, partition);
        }
      }
    }
  }
}

type Visit = (head: Head, partition: string) => Promise<void>;
