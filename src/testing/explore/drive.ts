/** Lets a simulated world go on, one event at a time, until something has come about; gives up when nothing moves. */
import { RecoveryError } from '../../errors.js';
import { drained, realMoment, realNowMs } from '../real-turns.js';
import type { VirtualTime } from '../virtual-clock.js';

/** Messages that somebody else than virtual time delivers; they go before it. */
export interface Post {
  readonly waiting: number;
  /** Delivers one, and lets run what follows from it. */
  deliver(): Promise<void>;
}

/** What a drive needs to know of its world. */
export interface Driven {
  readonly time: VirtualTime;
  readonly post: Post | null;
  /** Real time without any progress after which it is given up, in ms. */
  readonly stallMs: number;
  /** What has happened, for the error. */
  readonly timeline: readonly string[];
  /** The processes that still run, and the last place each has come to. */
  running(): readonly { readonly label: string; readonly after: string | null }[];
}

const MOST_STEPS = 500_000;
const QUIET_STALL_MS = 600_000;
/** Real time that work outside the virtual world gets before virtual time goes on all the same, in ms. */
const PATIENCE_MS = 200;

/** Resources that keep the process up: user code may wait for one of those that came later. */
function busyOutside(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length;
}

export class Drive {
  readonly #world: Driven;
  readonly #atRest = busyOutside();
  #progress = { realMs: realNowMs(), virtualMs: 0 };
  #steps = 0;

  constructor(world: Driven) {
    this.#world = world;
  }

  /** @throws `EXPLORE_STALLED` */
  async until(done: () => boolean): Promise<void> {
    this.progressed();
    while (!done()) {
      if (!this.#busy) {
        await drained();
        if (done()) return;
      }
      if (!this.#busy && this.#waitsOutside()) await realMoment();
      else await this.#step();
      this.#assertMoving();
    }
  }

  /** Until no message is on its way any more, and no user code waits. */
  async settle(): Promise<void> {
    this.progressed();
    while (this.#busy) {
      await this.#step();
      this.#assertMoving();
    }
  }

  progressed(): void {
    this.#progress = { realMs: realNowMs(), virtualMs: this.#world.time.nowMs };
  }

  get #busy(): boolean {
    const { time, post } = this.#world;
    return time.hot > 0 || (post !== null && post.waiting > 0);
  }

  /** Whether user code seems to be at real work, which gets some real time before virtual time goes on. */
  #waitsOutside(): boolean {
    if (this.#world.time.nextMs === null) return true;
    return busyOutside() > this.#atRest && realNowMs() - this.#progress.realMs < PATIENCE_MS;
  }

  async #step(): Promise<void> {
    this.#steps += 1;
    const { time, post } = this.#world;
    if (post !== null && post.waiting > 0) await post.deliver();
    else await time.step();
  }

  #assertMoving(): void {
    const { time, stallMs, timeline } = this.#world;
    const { realMs, virtualMs } = this.#progress;
    const still = realNowMs() - realMs > stallMs;
    const quiet = time.nextMs === null || time.nowMs - virtualMs > QUIET_STALL_MS;
    if (this.#steps >= MOST_STEPS) {
      throw new RecoveryError(
        'EXPLORE_STALLED',
        `A run took over ${MOST_STEPS} steps, up to ${Math.round(time.nowMs / 1_000)} s of virtual time: sleep less, or end its loop.\n` +
          timeline.slice(-20).join('\n'),
        { details: { steps: MOST_STEPS, virtualMs: time.nowMs } },
      );
    }
    if (!(still && quiet)) return;
    const running = this.#world.running();
    const last = running.map(({ label, after }) => `${label} after ${after ?? 'its start'}`).join('; ');
    throw new RecoveryError(
      'EXPLORE_STALLED',
      `The task makes no progress: ${last} awaits something that is neither ctx nor world. ` +
        'Use world.sleep for timers and world.now for the time, and stand-ins for what is outside.\n' +
        timeline.slice(-20).join('\n'),
      { details: { after: running.map(({ after }) => after) } },
    );
  }
}
