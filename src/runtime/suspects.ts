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

export class SuspectLane {
  /** A pass has trials under way; another one leaves its suspects to it. */
  busy = false;
  /** Some were left: to be looked for when the trials are over. */
  more = false;
  readonly #engine: Engine;
  #running = 0;
  #declared = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Makes it known, durably, that so many more are about to run. */
  async expect(count: number): Promise<void> {
    const wanted = this.#running + count;
    if (wanted <= this.#declared) return;
    this.#declared = wanted;
    try {
      await this.#engine.worker.declareSuspects(wanted);
    } catch (error) {
      this.#declared = 0;
      throw error;
    }
  }

  /** One is about to be claimed. Returns what is to be called once it is no suspect here any more. */
  async enter(): Promise<() => void> {
    await this.expect(1);
    this.#running += 1;
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#running -= 1;
      if (this.#running > 0) return;
      this.#declared = 0;
      this.#engine.worker.noSuspects();
    };
  }

  /** Resolves when a suspect that runs has ended, or has lived twice as long as it did before it crashed. */
  passed(attempt: Attempt, ended: Promise<unknown>, lastRanMs: number, leave: () => void): Promise<void> {
    const { clock, settings } = this.#engine;
    return new Promise((resolve) => {
      const done = (): void => {
        leave();
        resolve();
      };
      const cleared = async (): Promise<void> => {
        try {
          await attempt.clear();
          done();
        } catch {
          // Not cleared, then: it leaves when it ends.
        }
      };
      const cancel = clock.schedule(Math.max(settings.leaseMs, 2 * lastRanMs), () => {
        // Cleared durably before it leaves: nobody may take it for a suspect that was not counted.
        void cleared();
      });
      const finish = (): void => {
        cancel();
        done();
      };
      ended.then(finish, finish);
    });
  }
}
