/** What becomes of what is printed on stdout. */
import type { Io } from './io.js';

/** Of a reader that has enough, as `head` has: no error. */
const LEFT: ReadonlySet<unknown> = new Set(['EPIPE', 'ERR_STREAM_DESTROYED']);

export class Printed {
  /** Aborts when nothing of it arrives any more. */
  readonly closed: AbortSignal;
  readonly #stdout: Io['stdout'];
  #error: Error | null = null;

  constructor({ stdout, stderr }: Io) {
    const closed = new AbortController();
    this.closed = closed.signal;
    this.#stdout = stdout;
    stdout.on('error', (error: Error) => {
      this.#error ??= error;
      closed.abort();
    });
    stderr.on('error', () => {});
  }

  /** Waits until all is out; gives what kept it from that. */
  async end(): Promise<Error | null> {
    await new Promise<void>((resolve) => void this.#stdout.write('', () => resolve()));
    // The stream tells of its error right behind that.
    await new Promise((resolve) => setImmediate(resolve));
    return this.#error !== null && LEFT.has(Reflect.get(this.#error, 'code')) ? null : this.#error;
  }
}
