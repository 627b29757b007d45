/** The way to the database: opened with the first call, waited for without blocking, closed once. */
import { sleep, systemClock } from '../../clock.js';
import { RecoveryError } from '../../errors.js';
import { Connection } from './connection.js';
import { LockHeld, faultOf, openPath } from './driver.js';
import type { SqliteDatabase } from './driver.js';
import { setUp } from './schema.js';
import type { Synchronous } from './schema.js';

const LONGEST_PAUSE_MS = 25;

/** Runs calls on one connection. */
export class Link {
  readonly #target: string | SqliteDatabase;
  readonly #synchronous: Synchronous;
  #connection: Connection | null = null;
  #opening: Promise<Connection> | null = null;
  #closed = false;
  /** Until then nobody tries again: each try on a locked file blocks the event loop for a moment. */
  #lockedUntilMs = 0;
  #lastLock: LockHeld | null = null;

  constructor(target: string | SqliteDatabase, synchronous: Synchronous) {
    this.#target = target;
    this.#synchronous = synchronous;
  }

  /** Runs `call`, again while another connection holds the lock, for `deadlineMs` at most. */
  async run<T>(deadlineMs: number, call: (db: Connection) => T): Promise<T> {
    const endMs = systemClock.monotonicMs() + deadlineMs;
    for (let tries = 0; ;) {
      if (systemClock.monotonicMs() >= this.#lockedUntilMs) {
        tries += 1;
        try {
          return this.#finish(call(this.#connection ?? (await this.#open())));
        } catch (error) {
          this.#dropBroken();
          const fault = faultOf(error, 'not_applied');
          if (!(fault instanceof LockHeld)) throw fault;
          this.#lastLock = fault;
          const pauseMs = Math.min(LONGEST_PAUSE_MS, 2 ** tries) * (0.5 + Math.random() / 2);
          this.#lockedUntilMs = systemClock.monotonicMs() + pauseMs;
        }
      }
      // Locked a moment ago, by this call's try or by another's: that will do for an answer at the deadline.
      const nowMs = systemClock.monotonicMs();
      if (nowMs >= endMs) throw timedOut(deadlineMs, this.#lastLock);
      await sleep(systemClock, Math.max(1, Math.min(this.#lockedUntilMs, endMs) - nowMs));
    }
  }

  /** Closes a database that was opened here. */
  async close(): Promise<void> {
    this.#closed = true;
    const connection = this.#connection;
    this.#connection = null;
    if (connection !== null && !connection.borrowed) connection.close();
  }

  #finish<T>(result: T): T {
    this.#lockedUntilMs = 0;
    return result;
  }

  #open(): Promise<Connection> {
    if (this.#closed) return Promise.reject(closedError());
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #connect(): Promise<Connection> {
    const target = this.#target;
    const borrowed = typeof target !== 'string';
    const connection = new Connection(borrowed ? target : await openPath(target), borrowed);
    try {
      if (this.#closed) throw closedError();
      setUp(connection, this.#synchronous);
    } catch (error) {
      if (!borrowed) connection.close();
      throw error;
    }
    this.#connection = connection;
    return connection;
  }

  /** A connection whose transaction could not be ended is closed; the next call opens another one. */
  #dropBroken(): void {
    const connection = this.#connection;
    if (connection === null || !connection.broken) return;
    this.#connection = null;
    if (!connection.borrowed) connection.close();
  }
}

function closedError(): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', 'The SQLite storage is closed.', {
    details: { outcome: 'not_applied' },
  });
}

function timedOut(deadlineMs: number, lock: LockHeld | null): RecoveryError {
  return new RecoveryError(
    'STORAGE_UNAVAILABLE',
    `SQLite: another connection has held the lock for ${deadlineMs} ms. Nothing was written.`,
    { retryable: true, cause: lock?.cause, details: { outcome: 'not_applied', sqlite: 'SQLITE_BUSY' } },
  );
}
