/** Recovery of failed documents: on demand, or by itself, at once and then periodically. */
import { kindOf } from '../errors.js';
import { checkFilter } from '../domain/check-options.js';
import { DOCUMENT_FILTER_CHECKS } from '../domain/document-recovery.js';
import type {
  DocumentFilter,
  DocumentSettings,
  DocumentStatus,
  FailureAnalysis,
} from '../domain/document-recovery.js';
import type { FailedDocumentRecord } from '../domain/failed-document.js';
import { log } from '../log.js';
import type { FailedDocumentsTracker } from '../state/failed-documents.js';
import type { Head } from '../state/head.js';
import type { RecoveryContext } from './context.js';
import { analysisOf, noteRun, statusOf } from './document-figures.js';
import { DocumentLease } from './document-lease.js';
import { DocumentRun } from './document-run.js';
import type { HandlerOf } from './document-run.js';
import type { Engine } from './engine.js';
import { assertOpen } from './engine.js';
import type { OrphanFinder } from './orphans.js';
import { ReportBuilder } from './report.js';
import type { RecoveryReport, TaskReport } from './report.js';
import { Slots } from './slots.js';
import { argumentsOf, inputTextOf } from './snapshot.js';
import type { Starter } from './starter.js';
import { handlerOf } from './with-recovery.js';
import { alertedError } from './task-errors.js';

/** What a run of document recovery did. Of the documents the first 1,000 are listed; the numbers are exact. */
export interface DocumentRecoveryReport {
  /** Documents that were due, or that the filter named. */
  readonly found: number;
  readonly attempted: number;
  readonly succeeded: number;
  /** Attempts that ended with an error. What is missing was cancelled, given back, taken over, or tries again by itself. */
  readonly failed: number;
  /** Not tried: no function for it here, under way elsewhere, unreadable here. */
  readonly skipped: number;
  /** Given up, with no retries left. */
  readonly deadLettered: number;
  /** Removed, as older than the retention. */
  readonly expired: number;
  readonly durationMs: number;
  readonly tasks: readonly TaskReport[];
}

/** Does again what failed. What it returns becomes the task's result; what it throws is the next failure. */
export type DocumentProcessor = (record: FailedDocumentRecord, ctx: RecoveryContext) => unknown;

/** What a run came to. */
interface Done {
  readonly report: RecoveryReport;
  readonly counts: DocumentRun['counts'];
}

/** A run that has begun. */
interface UnderWay {
  readonly run: DocumentRun;
  readonly done: Promise<Done>;
}

const JITTER = 0.1;

/**
 * Retries failed documents through their tasks, with the arguments that are stored. Made by `createRecovery`; starts by
 * itself with `runStartupRecovery` where the `documents` option is given.
 */
export class DocumentRecoveryManager {
  readonly #engine: Engine;
  readonly #starter: Starter;
  readonly #failures: FailedDocumentsTracker;
  readonly #finder: OrphanFinder;
  readonly #settings: DocumentSettings;
  readonly #slots: Slots;
  readonly #underWay = new Set<UnderWay>();
  #ownHandlers: HandlerOf | null = null;
  /** Periodic runs since a call of `start`; null while they are off. */
  #series: symbol | null = null;
  readonly #ticking = new Set<Promise<void>>();
  #cancel: (() => void) | null = null;
  /** How often it was stopped. */
  #stops = 0;

  /** @internal */
  constructor(engine: Engine, starter: Starter, failures: FailedDocumentsTracker, finder: OrphanFinder) {
    this.#finder = finder;
    this.#engine = engine;
    this.#starter = starter;
    this.#failures = failures;
    this.#settings = engine.settings.documents;
    this.#slots = new Slots(this.#settings.concurrency);
  }

  /**
   * One run now: everything that is due. With a filter, what that names instead, due or not, dead letters too, and with
   * all its retries afresh: a redrive, once the cause is mended. Documents are tried once a run.
   * @throws `INVALID_OPTION`, `SHUT_DOWN`, `SLOT_CONFLICT`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example
   * const [group] = await recovery.failures.groups();
   * const { succeeded } = await recovery.documents.recover({ fingerprint: group.fingerprint });
   */
  readonly recover = async (filter: DocumentFilter = {}): Promise<DocumentRecoveryReport> => {
    checkFilter('documents.recover', filter, DOCUMENT_FILTER_CHECKS);
    const { report, counts } = await this.run(filter);
    const {
      discovered: found,
      recovered: attempted,
      failed,
      skipped,
      deadLettered,
      durationMs,
      tasks,
    } = report;
    const { succeeded, expired } = counts;
    return { found, attempted, succeeded, failed, skipped, deadLettered, expired, durationMs, tasks };
  };

  /** Runs at once, and then periodically unless `periodic` is false. Periodic runs never overlap, over all processes. */
  readonly start = (): void => {
    if (this.#series !== null || this.#engine.closing !== null) return;
    this.#series = Symbol('series');
    this.#arm(this.#series, 0);
  };

  /** Ends the periodic runs and whatever run is under way: resolves once the attempts in hand have ended. */
  readonly stop = async (): Promise<void> => {
    this.#series = null;
    this.#stops += 1;
    this.#cancel?.();
    this.#cancel = null;
    const all = [...this.#underWay];
    for (const { run } of all) run.stop();
    await Promise.allSettled([...this.#ticking, ...all.map(({ done }) => done)]);
  };

  /** How many failed, are due, were retried, and with what success. @throws `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE` */
  readonly getStatus = async (): Promise<DocumentStatus> => {
    await this.#engine.store.look();
    return statusOf(this.#engine.store, this.#settings, this.#underWay.size > 0);
  };

  /** What failed: by age, category, worker and kind of query. @throws `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE` */
  readonly analyze = async (): Promise<FailureAnalysis> => {
    await this.#engine.store.look();
    return analysisOf(this.#engine.store, this.#failures);
  };

  /** All documents go to this function instead of their own tasks'. @internal */
  processWith(process: DocumentProcessor): void {
    this.#ownHandlers = ({ task: { taskId, name, version } }) =>
      handlerOf(
        this.#engine,
        async (ctx) => {
          const record = await this.#failures.get(taskId);
          // Forgotten by an operator since: there is nothing to do for it.
          return record === null ? undefined : process(record, ctx);
        },
        { name, version },
      );
  }

  /** @internal */
  async run(filter: DocumentFilter): Promise<Done> {
    assertOpen(this.#engine);
    const stops = this.#stops;
    await this.#engine.worker.open();
    const { run, done } = this.#begin(filter);
    if (this.#stops !== stops) run.stop();
    return done;
  }

  #begin(filter: DocumentFilter): UnderWay {
    const { clock } = this.#engine;
    const report = new ReportBuilder(clock.monotonicMs());
    const parts = {
      engine: this.#engine,
      starter: this.#starter,
      settings: this.#settings,
      slots: this.#slots,
      handlerOf: this.#ownHandlers ?? this.#handlerOf,
      isIdle: this.#ownHandlers === null && this.#engine.handlers.size === 0,
      finder: this.#ownHandlers === null ? null : this.#finder,
      readable: (head: Head) => this.#readable(head),
      tries: (taskId: string) => {
        for (const each of this.#underWay) each.run.noteTry(taskId);
      },
    };
    const run = new DocumentRun(parts, filter, report);
    const work = async (): Promise<Done> => {
      try {
        await run.run();
        if (this.#engine.closing === null) await noteRun(this.#engine);
        return { report: report.build(clock.monotonicMs()), counts: run.counts };
      } finally {
        this.#underWay.delete(underWay);
      }
    };
    const underWay: UnderWay = { run, done: Promise.resolve().then(work) };
    this.#underWay.add(underWay);
    return underWay;
  }

  /** @throws `CODEC_FAILED`, `CORRUPT_RECORD` */
  async #readable(head: Head): Promise<void> {
    argumentsOf(head, await inputTextOf(this.#engine, head));
    if (this.#ownHandlers !== null) await this.#failures.get(head.task.taskId);
  }

  readonly #handlerOf: HandlerOf = ({ task }) => {
    const handler = this.#engine.handlers.get(task.name);
    return handler?.recoverable === true ? handler : undefined;
  };

  #arm(series: symbol, delayMs: number): void {
    this.#cancel = this.#engine.clock.schedule(delayMs, () => {
      this.#cancel = null;
      const ticking = this.#tick(series).finally(() => this.#ticking.delete(ticking));
      this.#ticking.add(ticking);
    });
  }

  async #tick(series: symbol): Promise<void> {
    let nextMs = this.#settings.periodic ? this.#settings.recoveryIntervalMs : null;
    try {
      const heldForMs = await this.#periodicRun(series);
      nextMs = heldForMs ?? nextMs;
    } catch (error) {
      // The one run of those that run once is still to come.
      nextMs = this.#settings.recoveryIntervalMs;
      log.recovery('documents were not recovered: %s', kindOf(error));
      if (this.#engine.closing === null)
        this.#engine.emitter.alert('document_recovery_failed', alertedError(this.#engine, error));
    }
    if (!this.#isOn(series)) return;
    if (nextMs === null) {
      this.#series = null;
      return;
    }
    this.#arm(series, nextMs * (1 + JITTER * (2 * this.#engine.random.fraction() - 1)) + 1);
  }

  /** Null, or for how many ms another process is at it at least. */
  async #periodicRun(series: symbol): Promise<number | null> {
    await this.#engine.worker.open();
    let run: UnderWay | null = null;
    const lease = await DocumentLease.acquire(this.#engine, () => run?.run.stop());
    if (typeof lease === 'number') return lease;
    try {
      if (this.#isOn(series)) await (run = this.#begin({})).done;
    } finally {
      await lease.release();
    }
    return null;
  }

  #isOn(series: symbol): boolean {
    return this.#series === series && this.#engine.closing === null;
  }
}
