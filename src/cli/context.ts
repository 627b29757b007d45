/** What each command gets, and what it gives back. */
import type { Output } from './output.js';
import type { Session } from './session.js';
import type { Io } from './io.js';

export interface Context {
  readonly session: Session;
  readonly out: Output;
  readonly io: Io;
  /** Aborts with the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** Aborts when nobody reads what is printed any more: `| head`. */
  readonly closed: AbortSignal;
}

/** What a command has found, and how people read it. With `--json` it is the value that is printed. */
export interface Answer {
  readonly value: unknown;
  readonly show: (out: Output) => void;
  /** Default 0. */
  readonly exitCode?: number;
}

/** Null: all is printed already. */
export type Command<O> = (context: Context, options: O) => Promise<Answer | null>;
