/**
 * Trials of suspects: tasks that were in flight in two crashes. How many a process has on trial stands in its worker
 * record before they run. When it dies, only they are charged, and whoever finds them knows how many there were; they
 * run again by halves, until the one that kills its process has been alone.
 */
import type { CrashEvidence } from '../domain/task.js';
import type { Attempt } from './attempt.js';
import type { Engine } from './engine.js';

/** How many suspects with this history may run together; null: it has not been on trial yet. */
export function mostTogether(crashes: readonly CrashEvidence[]): number | null {
  const suspects = crashes.at(-1)?.suspects ?? null;
  return suspects === null ? null : Math.max(1, Math.ceil(suspects / 2));
}

/** What is known of a suspect before it runs again. */
export interface Suspect<T> {
  readonly task: T;
  readonly together: number | null;
}

/**
 * Who runs next: the least suspicious ones, those that have not been on trial by themselves first. Never more than half
 * of those that are equally suspect, so that those who stay out are cleared if the rest crashes.
 */
export function nextTrial<T>(suspects: readonly Suspect<T>[]): T[] {
  const rank = ({ together }: Suspect<T>): number => together ?? Infinity;
  const most = Math.max(...suspects.map(rank));
  const equals = suspects.filter((each) => rank(each) === most);
  const size = most === Infinity ? Math.ceil(equals.length / 2) : most;
  return equals.slice(0, size).map(({ task }) => task);
}

/** One that waits for its turn. */
interface Waiting {
  readonly taskId: string;
  readonly admit: (leave: () => void) => void;
  readonly refuse: (error: unknown) => void;
}

export class SuspectLane {
  readonly #engine: Engine;
  #waiting: Suspect<Waiting>[] = [];
  /** On trial now. */
  #inside = 0;
  #busy = false;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Whether a task waits for its turn. */
  has(taskId: string): boolean {
    return this.#waiting.some(({ task }) => task.taskId === taskId);
  }

  /**
   * Waits for a task's turn: until no other trial is on, and this process's record says how many are in this one.
   * Resolves with what is to be called once it is no suspect here any more. Rejects when a shutdown has begun, or the
   * record could not be written.
   */
  turn(taskId: string, crashes: readonly CrashEvidence[]): Promise<() => void> {
    if (this.#engine.closing !== null) return Promise.reject(this.#engine.closing);
    return new Promise((admit, refuse) => {
      this.#waiting.push({ task: { taskId, admit, refuse }, together: mostTogether(crashes) });
      this.#next();
    });
  }

  /** Nobody gets a turn any more. */
  close(error: unknown): void {
    for (const { task } of this.#waiting.splice(0)) task.refuse(error);
  }

  #next(): void {
    if (this.#busy || this.#waiting.length === 0) return;
    this.#busy = true;
    // A restart calls and finds many in a moment: those are tried together.
    this.#engine.clock.defer(() => void this.#begin());
  }

  async #begin(): Promise<void> {
    const chosen = this.#waiting.length === 0 ? [] : nextTrial(this.#waiting);
    this.#waiting = this.#waiting.filter(({ task }) => !chosen.includes(task));
    try {
      if (chosen.length > 0) await this.#engine.worker.declareSuspects(chosen.length);
      this.#inside = chosen.length;
      for (const { admit } of chosen) admit(this.#leaving());
    } catch (error) {
      for (const { refuse } of chosen) refuse(error);
    }
    if (this.#inside === 0) this.#over();
  }

  #leaving(): () => void {
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#inside -= 1;
      if (this.#inside > 0) return;
      this.#engine.worker.noSuspects();
      this.#over();
    };
  }

  #over(): void {
    this.#busy = false;
    this.#next();
  }

  /** Has a suspect that runs leave when it has ended, or has lived twice as long as it did before it crashed. */
  watch(attempt: Attempt, ended: Promise<unknown>, lastRanMs: number, leave: () => void): void {
    const { clock, settings } = this.#engine;
    const clear = async (): Promise<void> => {
      try {
        // Cleared durably before it leaves: nobody may take it for a suspect that was not counted.
        await attempt.clear();
        leave();
      } catch {
        // Not cleared, then: it leaves when it ends.
      }
    };
    const cancel = clock.schedule(Math.max(settings.leaseMs, 2 * lastRanMs), () => void clear());
    const finish = (): void => {
      cancel();
      leave();
    };
    ended.then(finish, finish);
  }
}
