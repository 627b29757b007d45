import { kindOf } from '../errors.js';
import { RECOVERY_EVENT_TYPES } from '../domain/events.js';
import type { RecoveryEvent, RecoveryEventType } from '../domain/events.js';
import { RecoveryError } from '../errors.js';
import { log } from '../log.js';

export type EventListener = (event: RecoveryEvent) => unknown;

/** Listeners in this process. What they throw or reject with never reaches the work. */
export class Emitter {
  readonly #listeners = new Map<string, Set<EventListener>>();
  readonly #wallMs: () => number;

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  /**
   * Listens to one kind of event, or to all with `*`. Returns a function that ends it.
   * @throws `INVALID_OPTION` for a kind that doesn't exist
   */
  readonly on = (type: RecoveryEventType | '*', listener: EventListener): (() => void) => {
    if ((type !== '*' && !RECOVERY_EVENT_TYPES.includes(type)) || typeof listener !== 'function') {
      const known = [...RECOVERY_EVENT_TYPES, '*'].join(', ');
      throw new RecoveryError(
        'INVALID_OPTION',
        `on(type, listener): type is one of ${known}; listener is a function.`,
      );
    }
    let listeners = this.#listeners.get(type);
    if (listeners === undefined) this.#listeners.set(type, (listeners = new Set()));
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };

  get idle(): boolean {
    return this.#listeners.size === 0;
  }

  /** Whether anybody listens to this kind of event. */
  hears(type: unknown): boolean {
    return typeof type === 'string' && (this.#listeners.has(type) || this.#listeners.has('*'));
  }

  emit(event: RecoveryEvent): void {
    for (const type of [event.event, '*']) {
      // A copy: one that signs on again while it is told would be told again, for ever.
      const listeners = [...(this.#listeners.get(type) ?? [])];
      for (const listener of listeners) {
        try {
          const answer = listener(event);
          if (answer instanceof Promise) answer.catch((error: unknown) => this.#complain(error));
        } catch (error) {
          this.#complain(error);
        }
      }
    }
  }

  /** Tells of something that is wrong with the worker or the storage rather than with one task. */
  alert(kind: string, details: Readonly<Record<string, string>> = {}): void {
    log.recovery('alert: %s', kind);
    this.local('alert', null, null, { kind, ...details });
  }

  local(
    event: 'alert' | 'lease_lost',
    taskId: string | null,
    name: string | null,
    details: Readonly<Record<string, string>>,
  ): void {
    const timestamp = Math.floor(this.#wallMs());
    this.emit({ event, task_id: taskId, name, timestamp, recovery: false, seq: null, cursor: null, details });
  }

  #complain(error: unknown): void {
    log.recovery('a listener failed: %s', kindOf(error));
  }
}
