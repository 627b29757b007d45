/**
 * Virtual time: one queue of events for a whole simulated world, and a view of it for each simulated process.
 * Between two events all microtasks are drained, so a run depends on its seed only.
 */
import type { Clock } from '../clock.js';
import type { RandomSource } from '../random.js';
import { drained } from './real-turns.js';

/** A small seeded generator (mulberry32): numbers from 0 up to, not including, 1. */
export function seededFractions(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A library's source of chance for one simulated process. */
export function seededRandom(name: string, fraction: () => number): RandomSource {
  let drawn = 0;
  return {
    nonce() {
      drawn += 1;
      return `${name}-${drawn}`;
    },
    fraction,
  };
}

interface TimedEvent {
  readonly atMs: number;
  readonly run: () => void;
  /** A message, or a wait of user code: rather than a timer of the library. */
  readonly hot: boolean;
}

/** Wall time at the start of every simulation. */
export const EPOCH_MS = 1_700_000_000_000;

/** The one queue. Events at the same moment run in the order in which they were put in. */
export class VirtualTime {
  nowMs = 0;
  #hot = 0;
  readonly #events: TimedEvent[] = [];

  /** How many hot events there are. */
  get hot(): number {
    return this.#hot;
  }

  at(atMs: number, run: () => void, hot: boolean = false): () => void {
    const event = { atMs: Math.max(this.nowMs, Math.ceil(atMs)), run, hot };
    if (hot) this.#hot += 1;
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#events[middle]?.atMs ?? Infinity) <= event.atMs) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
    return () => {
      const index = this.#events.indexOf(event);
      if (index < 0) return;
      this.#events.splice(index, 1);
      if (hot) this.#hot -= 1;
    };
  }

  after(delayMs: number, run: () => void, hot: boolean = false): () => void {
    return this.at(this.nowMs + delayMs, run, hot);
  }

  /** When the next event is due; null when there is none. */
  get nextMs(): number | null {
    return this.#events[0]?.atMs ?? null;
  }

  /** Runs one event and all microtasks that follow from it. */
  async step(): Promise<void> {
    const event = this.#events.shift();
    if (event === undefined) return;
    this.nowMs = event.atMs;
    if (event.hot) this.#hot -= 1;
    event.run();
    await drained();
  }
}

interface Held {
  readonly kind: 'timer' | 'reply';
  readonly run: () => void;
}

/**
 * What one process perceives of time. While it is paused (SIGSTOP, a blocked loop, a frozen machine), its timers and
 * what arrives for it are held back; after a crash they are dropped.
 */
export class ProcessClock implements Clock {
  state: 'awake' | 'paused' | 'dead' = 'awake';
  /** Ahead of true time, in ms: nothing may depend on it. */
  skewMs = 0;
  readonly #time: VirtualTime;
  readonly #timers = new Set<object>();
  #held: Held[] = [];
  #wakeAtMs = 0;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  /** Timers that have neither fired nor been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  wallMs(): number {
    return EPOCH_MS + this.skewMs + this.#time.nowMs;
  }

  monotonicMs(): number {
    return this.#time.nowMs;
  }

  schedule(delayMs: number, fn: () => void): () => void {
    return this.#timer(delayMs, fn, false);
  }

  /** A wait of user code. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#timer(delayMs, resolve, true);
    });
  }

  #timer(delayMs: number, fn: () => void, hot: boolean): () => void {
    const timer = {};
    this.#timers.add(timer);
    const fire = (): void => {
      if (this.#timers.delete(timer)) fn();
    };
    const cancel = this.#time.after(Math.max(0, delayMs), () => this.enter('timer', fire), hot);
    return () => {
      this.#timers.delete(timer);
      cancel();
    };
  }

  defer(fn: () => void): void {
    this.schedule(0, fn);
  }

  /** Runs `run` as a turn of the process's event loop: now, when it wakes, or never. */
  enter(kind: Held['kind'], run: () => void): void {
    if (this.state === 'awake') run();
    else if (this.state === 'paused') this.#held.push({ kind, run });
  }

  crash(): void {
    this.state = 'dead';
    this.#held = [];
    this.#timers.clear();
  }

  /** Freezes the process until it is thawed. */
  freeze(): void {
    if (this.state === 'awake') this.state = 'paused';
  }

  /** Wakes it. `timersFirst`: whether its timers or its sockets are served first. */
  thaw(timersFirst: boolean): void {
    if (this.state !== 'paused') return;
    this.state = 'awake';
    const first = timersFirst ? 'timer' : 'reply';
    const turns = [
      ...this.#held.filter(({ kind }) => kind === first),
      ...this.#held.filter(({ kind }) => kind !== first),
    ];
    this.#held = [];
    for (const { kind, run } of turns) this.#time.after(0, () => this.enter(kind, run), true);
  }

  /** Freezes the process for some time. */
  pause(forMs: number, timersFirst: boolean): void {
    if (this.state === 'dead') return;
    this.freeze();
    this.#wakeAtMs = Math.max(this.#wakeAtMs, this.#time.nowMs + forMs);
    this.#time.at(this.#wakeAtMs, () => this.#wake(timersFirst));
  }

  #wake(timersFirst: boolean): void {
    if (this.#time.nowMs >= this.#wakeAtMs) this.thaw(timersFirst);
  }
}
