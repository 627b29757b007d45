/** Sees every commit and every execution of a task's function, and notes what must never happen. */
import type { RecoveryContext } from '../../src/runtime/context.js';
import { fenceOf } from '../../src/state/token.js';
import type { Batch, CommitReply } from '../../src/storage/storage.js';
import { isDeepStrictEqual } from 'node:util';
import { expectedResult } from './jobs.js';
import type { Job, JobResult, Visit } from './jobs.js';
import type { Peer } from './sim-storage.js';

interface Execution {
  readonly taskId: string;
  readonly fence: number;
  readonly peer: Peer;
  readonly signal: AbortSignal;
}

/** The task that a guard is the head of. */
function taskOf({ guard }: Batch): string | null {
  return guard.key.startsWith('h:') ? guard.key.slice(2) : null;
}

/** A token without its sequence number: the fence and the nonce of one owner. */
function ownerOf(token: string | null): string {
  return token === null ? '' : token.slice(0, token.lastIndexOf('.'));
}

/** How many crashes a head's field names. */
function chargesIn(field: unknown): number {
  if (typeof field !== 'string') return 0;
  const crashes: unknown = JSON.parse(field);
  return Array.isArray(crashes) ? crashes.length : 0;
}

export class Witness {
  readonly violations: Set<string> = new Set();
  readonly results: Map<string, JobResult | 'dead_letter' | 'cancelled'> = new Map();
  /** Tasks that were cancelled, requeued, and have ended again. */
  readonly requeued: Set<string> = new Set();
  /** How often each step was done: at least once each. */
  readonly effects: Map<string, number> = new Map();
  readonly starts: Map<string, number> = new Map();
  readonly #tokens = new Map<string, string | null>();
  readonly #fences = new Map<string, number>();
  readonly #acknowledged = new Map<string, number>();
  readonly #keys = new Map<string, string>();
  readonly #kept = new Set<string>();
  readonly #running = new Set<Execution>();
  #rollbacks = 0;
  readonly #mostPoison: number;
  readonly #mostCharged: number;
  /** Tasks that somebody wanted to be cancelled in this life, and those whose records say so. */
  readonly #unwanted = new Set<string>();
  readonly #cancelled = new Set<string>();

  /**
   * @param mostPoison how often a task that takes its process down each time may run
   * @param mostCharged the most crashes that the record of an innocent may name
   */
  constructor(mostPoison: number, mostCharged: number) {
    this.#mostPoison = mostPoison;
    this.#mostCharged = mostCharged;
  }

  /** Takes part in a commit: what was applied has to have been in order. */
  committed(peer: Peer, batches: readonly Batch[], reply: CommitReply): void {
    for (const [index, batch] of batches.entries()) {
      const taskId = taskOf(batch);
      if (taskId !== null && reply.outcomes[index]?.status === 'applied')
        this.#applied(peer.label, taskId, batch);
    }
  }

  #applied(label: string, taskId: string, batch: Batch): void {
    const { guard, set } = batch;
    const current = this.#tokens.get(taskId) ?? null;
    const fence = guard.next === null ? 0 : (fenceOf(guard.next) ?? 0);
    const highest = this.#fences.get(taskId) ?? 0;
    const claimed = set?.some(({ key, fields }) => key === guard.key && 'owner' in fields) === true;
    const what = `${label}: ${guard.next} over ${current}`;
    if (claimed && fence <= highest) this.violations.add(`I3 ${taskId} claimed by ${what}`);
    if (claimed && guard.expect === null && highest > 0)
      this.violations.add(`I4 ${taskId} is back, by ${what}`);
    if (guard.next !== null && fence < highest)
      this.violations.add(`I4 zombie's write of ${taskId}, ${what}`);
    if (guard.expect !== null && ownerOf(guard.expect) !== ownerOf(current)) {
      this.violations.add(`I4 ${taskId} was written under a token that is over, ${what}`);
    }
    if (guard.next === current) this.violations.add(`I8 ${taskId} was written twice, ${what}`);
    this.#tokens.set(taskId, guard.next);
    this.#fences.set(taskId, Math.max(highest, fence));
    this.#judged(taskId, batch);
  }

  /** What a batch says of a task's crashes and of its end. */
  #judged(taskId: string, { guard, set = [], append = [] }: Batch): void {
    for (const { key, fields } of set) {
      // In the recovery queue it may wait with charges that are dropped when it is looked at.
      const decided = key === guard.key && ('owner' in fields || 'endedAt' in fields);
      const charged = decided ? chargesIn(fields['crashes']) : 0;
      if (charged <= this.#mostCharged || append.some(({ name }) => name === 'poison')) continue;
      this.violations.add(
        `I17 ${taskId} is charged with ${charged} crashes; ${this.#mostCharged} is the most`,
      );
    }
    for (const { event, name } of append) {
      if (event === 'dead_lettered' && name !== 'poison')
        this.violations.add(`I16 ${taskId}, an innocent, was given up`);
      if (event === 'task_cancelled') this.#cancelled.add(taskId);
      if (event === 'task_cancelled' && !this.#unwanted.has(taskId))
        this.violations.add(`I18 ${taskId} was cancelled, and nobody had asked for it`);
      if (event !== 'task_requeued') continue;
      this.#cancelled.delete(taskId);
      this.#unwanted.delete(taskId);
    }
  }

  cancelAsked(taskId: string): void {
    this.#unwanted.add(taskId);
  }

  cancelAnswered(taskId: string, outcome: string): void {
    if (outcome === 'cancelled' && !this.#cancelled.has(taskId))
      this.violations.add(`I18 ${taskId} was said to be cancelled, and is not`);
  }

  /** A process was told that a task is no longer its own. */
  lost(peer: Peer, taskId: string, code: string | undefined): void {
    if (code !== 'LEASE_LOST') return;
    const current = this.#tokens.get(taskId) ?? null;
    const mine = [...this.#running].some(
      (each) => each.taskId === taskId && each.peer === peer && String(each.fence) === current?.split('.')[0],
    );
    // An orphan keeps the fence, but not the nonce, of its last owner; only this process itself has its own label.
    if (mine && current?.includes(`.${peer.label}-`) === true) {
      this.violations.add(`I10 ${taskId} was lost by ${peer.label}, though nobody else took it`);
    }
  }

  entered(peer: Peer, ctx: RecoveryContext, step: number): Visit {
    const { taskId, fence, signal } = ctx;
    const acknowledged = this.#acknowledged.get(taskId) ?? 0;
    if (step < acknowledged) {
      this.violations.add(`I1 ${taskId} resumed at step ${step}; step ${acknowledged} was acknowledged`);
    }
    if (this.#cancelled.has(taskId)) this.violations.add(`I18 ${taskId} was begun after it was cancelled`);
    const execution = { taskId, fence, peer, signal };
    this.#running.add(execution);
    const starts = (this.starts.get(taskId) ?? 0) + 1;
    this.starts.set(taskId, starts);
    if (ctx.name === 'poison' && starts > this.#mostPoison) {
      this.violations.add(`I13 ${taskId} takes another process down; ${this.#mostPoison} is the most`);
    }
    const keptBefore = new Set(this.#kept);
    const alive = (): boolean => peer.clock.state !== 'dead';
    const rollbacks = this.#rollbacks;
    // The reply may have been under way when the storage went back and lost what it tells of.
    const holds = (): boolean =>
      rollbacks === this.#rollbacks || fenceOf(this.#tokens.get(taskId) ?? '') === fence;
    return {
      effect: (done, key) => {
        const place = `${taskId} ${done}`;
        if (!alive()) return;
        this.effects.set(place, (this.effects.get(place) ?? 0) + 1);
        if (keptBefore.has(place)) this.violations.add(`I1 ${place} was kept, and happened again`);
        if (key !== undefined && (this.#keys.get(place) ?? key) !== key)
          this.violations.add(`I15 ${place} happened under another idempotency key`);
        if (key !== undefined) this.#keys.set(place, key);
      },
      happened: (done) => this.effects.has(`${taskId} ${done}`),
      kept: (done) => {
        if (alive() && holds()) this.#kept.add(`${taskId} ${done}`);
      },
      acknowledged: (done) => {
        if (alive() && holds())
          this.#acknowledged.set(taskId, Math.max(done, this.#acknowledged.get(taskId) ?? 0));
      },
      left: () => void this.#running.delete(execution),
    };
  }

  /** The storage has gone back to an older state: what it acknowledged since is gone, and may be given out again. */
  rolledBack(tokens: ReadonlyMap<string, string>): void {
    this.#rollbacks += 1;
    this.#acknowledged.clear();
    this.#kept.clear();
    this.#fences.clear();
    this.#tokens.clear();
    for (const [taskId, token] of tokens) {
      this.#tokens.set(taskId, token);
      this.#fences.set(taskId, fenceOf(token) ?? 0);
    }
  }

  /** A process died: whatever it was running runs no more. */
  gone(peer: Peer): void {
    for (const each of this.#running) if (each.peer === peer) this.#running.delete(each);
  }

  /** Called when the world is at rest: all timers that are due have fired. */
  atRest(nowMs: number): void {
    const owners = new Map<string, string>();
    for (const { taskId, fence, peer, signal } of this.#running) {
      if (peer.clock.state !== 'awake' || signal.aborted) continue;
      const other = owners.get(taskId);
      const me = `${peer.label} (fence ${fence})`;
      if (other !== undefined)
        this.violations.add(`I11 at ${nowMs} both ${other} and ${me} are running ${taskId}`);
      owners.set(taskId, me);
    }
  }

  ended(job: Job, result: JobResult | 'dead_letter' | 'cancelled'): void {
    this.results.set(job.id, result);
    if (result === 'cancelled' && this.#unwanted.has(job.id)) {
      if (!this.#cancelled.has(job.id))
        this.violations.add(`I18 ${job.id} is cancelled, its caller heard too early`);
      return;
    }
    const expected = job.kind === 'poison' ? 'dead_letter' : expectedResult(job);
    if (!isDeepStrictEqual(result, expected)) {
      this.violations.add(`I12 ${job.id} came to ${JSON.stringify(result)}, not ${JSON.stringify(expected)}`);
    }
  }
}
