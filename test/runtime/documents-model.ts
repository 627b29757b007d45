/** What becomes of failed documents, in plain words: no storage, no indexes, no leases. */
import { waveOf, WAVES } from '../../src/state/failures.js';

/** How a try ends; `crash`: its process dies. */
export type Outcome = 'ok' | 'first' | 'second' | 'crash';

export interface Rules {
  readonly maxRetries: number;
  readonly minRetryIntervalMs: number;
  readonly maxRetryIntervalMs: number;
  readonly retentionMs: number;
  readonly deadLetterRetentionMs: number;
}

interface Doc {
  status: 'failed' | 'dead_letter' | 'orphaned' | 'processing' | 'completed';
  /** Null: it is no failed document. */
  failure: {
    retries: number;
    attempts: number;
    reason: string;
    failedAtMs: number;
    openAtMs: number;
    lastAtMs: number;
  } | null;
  deadAtMs: number;
}

const ENDED: ReadonlySet<string> = new Set(['failed', 'dead_letter', 'completed']);

export class Model {
  readonly docs: Map<string, Doc> = new Map();
  readonly rules: Rules;
  attempts = 0;
  succeeded = 0;
  failed = 0;
  lastRunMs: number | null = null;

  constructor(rules: Rules) {
    this.rules = rules;
  }

  /** The wait before the next retry without what the wave adds, and with it. */
  delayMs(id: string): { base: number; whole: number } {
    const retries = this.docs.get(id)?.failure?.retries ?? 0;
    let base = this.rules.minRetryIntervalMs;
    for (let n = 0; n < retries && base < this.rules.maxRetryIntervalMs; n += 1) base *= 2;
    base = Math.min(base, this.rules.maxRetryIntervalMs);
    return { base, whole: Math.ceil(base + (base * waveOf(id, retries)) / WAVES / 2) };
  }

  isDue(id: string, nowMs: number): boolean {
    const doc = this.docs.get(id);
    if (doc?.status !== 'failed' || doc.failure === null) return false;
    const { retries, lastAtMs } = doc.failure;
    return retries < this.rules.maxRetries && lastAtMs + this.delayMs(id).whole <= nowMs;
  }

  /** A try of a task that there is or not; whether it was run at all. */
  tried(id: string, outcome: Outcome, nowMs: number): boolean {
    const doc = this.docs.get(id) ?? { status: 'orphaned', failure: null, deadAtMs: 0 };
    if (doc.status === 'completed' || doc.status === 'dead_letter') return false;
    this.docs.set(id, doc);
    // One that a dead process left goes on with the try that was counted.
    if (doc.failure !== null && doc.status !== 'processing') {
      doc.failure.attempts += 1;
      if (doc.status === 'failed') doc.failure.retries += 1;
      this.attempts += 1;
    }
    if (outcome === 'crash') doc.status = 'processing';
    else if (outcome === 'ok') {
      if (doc.failure !== null) this.succeeded += 1;
      Object.assign(doc, { status: 'completed', failure: null });
    } else {
      if (doc.failure !== null) this.failed += 1;
      this.#fail(doc, outcome, nowMs);
    }
    return true;
  }

  recorded(id: string, nowMs: number): boolean {
    const doc = this.docs.get(id) ?? { status: 'failed', failure: null, deadAtMs: 0 };
    if (!ENDED.has(doc.status)) return false;
    this.docs.set(id, doc);
    if (doc.status === 'dead_letter' && doc.failure === null) doc.deadAtMs = nowMs;
    this.#fail(doc, 'recorded', nowMs, doc.status === 'dead_letter' ? 'dead_letter' : 'failed');
    if (doc.failure !== null) doc.failure.openAtMs = nowMs;
    return true;
  }

  requeued(id: string, nowMs: number): boolean {
    const doc = this.docs.get(id);
    if (doc === undefined || doc.status === 'completed' || doc.status === 'processing') return false;
    doc.status = 'orphaned';
    if (doc.failure !== null) Object.assign(doc.failure, { retries: 0, openAtMs: nowMs });
    return true;
  }

  /** A run that tries what is due; those that it tried. With a crash in it, it gives up nothing at its end. */
  run(outcomeOf: (id: string) => Outcome, nowMs: number): string[] {
    const { retentionMs, deadLetterRetentionMs } = this.rules;
    for (const [id, { status, failure, deadAtMs }] of this.docs) {
      if (failure === null) continue;
      if (status === 'failed' && failure.openAtMs + retentionMs <= nowMs) this.docs.delete(id);
      if (status === 'dead_letter' && deadAtMs + deadLetterRetentionMs <= nowMs) this.docs.delete(id);
    }
    this.#giveUp(nowMs);
    const due = [...this.docs.keys()].filter((id) => this.isDue(id, nowMs));
    for (const id of due) this.tried(id, outcomeOf(id), nowMs);
    if (due.some((id) => outcomeOf(id) === 'crash')) return due;
    this.#giveUp(nowMs);
    this.lastRunMs = nowMs;
    return due;
  }

  redrive(reason: string, outcomeOf: (id: string) => Outcome, nowMs: number): string[] {
    const named = [...this.docs]
      .filter(([, { status }]) => status === 'failed' || status === 'dead_letter')
      .filter(([, { failure }]) => failure?.reason === reason)
      .map(([id]) => id);
    for (const id of named) {
      this.requeued(id, nowMs);
      this.tried(id, outcomeOf(id), nowMs);
    }
    if (!named.some((id) => outcomeOf(id) === 'crash')) this.lastRunMs = nowMs;
    return named;
  }

  #fail(doc: Doc, reason: string, nowMs: number, status: 'failed' | 'dead_letter' = 'failed'): void {
    const { retries = 0, attempts = 0, failedAtMs = nowMs, openAtMs = nowMs } = doc.failure ?? {};
    Object.assign(doc, {
      status,
      failure: { retries, attempts, reason, failedAtMs, openAtMs, lastAtMs: nowMs },
    });
  }

  #giveUp(nowMs: number): void {
    for (const doc of this.docs.values()) {
      if (doc.status !== 'failed' || doc.failure === null) continue;
      if (doc.failure.retries >= this.rules.maxRetries)
        Object.assign(doc, { status: 'dead_letter', deadAtMs: nowMs });
    }
  }
}
