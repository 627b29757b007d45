/** How far a recovery is: a bar on a terminal, elsewhere a line a tenth. On stderr, so that stdout has the answer only. */
import cliProgress from 'cli-progress';
import type { Io } from './io.js';

export class Progress {
  readonly #what: string;
  readonly #io: Io;
  readonly #bar: cliProgress.SingleBar | null;
  readonly #silent: boolean;
  #started = false;
  #done = 0;
  #total = 0;
  #told = 0;

  /**
   * @param silent with `--json` there is none
   * @param format of a line on a terminal, where it is not a bar
   */
  constructor(what: string, io: Io, silent: boolean, format = `${what} [{bar}] {value}/{total}`) {
    this.#what = what;
    this.#io = io;
    this.#silent = silent;
    const bar = !silent && io.stderr.isTTY === true && io.env['TERM'] !== 'dumb';
    this.#bar = bar ? makeBar(format, io) : null;
  }

  /** There is as much to do as this at least. */
  expect(total: number): void {
    this.#total = Math.max(this.#total, total);
    if (this.#bar === null || this.#total === 0) return;
    if (this.#started) this.#bar.setTotal(this.#total);
    else this.#bar.start(this.#total, this.#done);
    this.#started = true;
  }

  /** So much of it is done. */
  reached(done: number): void {
    this.#done = done;
    this.expect(done);
    this.#bar?.update(done);
    if (this.#bar !== null || this.#silent || this.#total === 0) return;
    const tenth = Math.floor((10 * done) / this.#total);
    if (tenth <= this.#told) return;
    this.#told = tenth;
    this.#io.stderr.write(`${this.#what}: ${done}/${this.#total}\n`);
  }

  more(): void {
    this.reached(this.#done + 1);
  }

  stop(): void {
    if (this.#started) this.#bar?.stop();
  }
}

function makeBar(format: string, io: Io): cliProgress.SingleBar {
  return new cliProgress.SingleBar(
    {
      format,
      stream: io.stderr,
      hideCursor: false,
      clearOnComplete: false,
      gracefulExit: false,
    },
    cliProgress.Presets.legacy,
  );
}
