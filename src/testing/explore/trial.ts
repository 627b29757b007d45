/** One run of a task under planned faults, from an empty storage to the end, and what became of everything. */
import { RecoveryError } from '../../errors.js';
import { fromJsonText } from '../../domain/json.js';
import { decodeHead } from '../../state/head.js';
import { keys } from '../../state/keys.js';
import { memoryStorage } from '../../storage/memory.js';
import { drained, EPOCH_MS, seededFractions, VirtualTime } from '../virtual-clock.js';
import type { Storage } from '../../storage/storage.js';
import { Incarnation } from './incarnation.js';
import type { CallEnd, Define, ExploreRecoveryOptions, Surroundings } from './incarnation.js';
import type { PlannedFault } from './points.js';
import { Receiver } from './receiver.js';
import type { Effect } from './receiver.js';

/** What is run. */
export interface Subject<I> {
  readonly define: Define<I>;
  readonly input: I;
  readonly options: ExploreRecoveryOptions;
  /** Real time without any progress after which a run is given up, in ms. */
  readonly stallMs: number;
  /** The task's id, where it is the same each time it is called; a later call with the input is then the same task. */
  readonly rootId: string | null;
}

/** What became of a run. */
export interface TrialResult {
  readonly end: CallEnd;
  readonly effects: readonly Effect[];
  /** Their keys in words that are the same in every run. */
  readonly effectWords: readonly string[];
  readonly conflicts: Receiver['conflicts'];
  /** The places of each incarnation, in words. */
  readonly points: readonly (readonly string[])[];
  readonly timeline: readonly string[];
  /** The id of the task that the first call began; null when that never became durable. */
  readonly rootId: string | null;
}

const NAMESPACE = 'rekindle';
const MOST_STEPS = 500_000;
const QUIET_STALL_MS = 600_000;
/** Real time that work outside the virtual world gets before virtual time goes on all the same, in ms. */
const PATIENCE_MS = 200;

/** Resources that keep the process up: user code may wait for one of those that came later. */
function busyOutside(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length;
}

export class Trial<I> {
  readonly #subject: Subject<I>;
  readonly #faults: readonly PlannedFault[];
  readonly #time = new VirtualTime();
  readonly #storage: Storage;
  readonly #receiver = new Receiver();
  readonly #timeline: string[] = [];
  readonly #incarnations: Incarnation<I>[] = [];
  readonly #atRest = busyOutside();
  #progress = { realMs: performance.now(), virtualMs: 0 };
  #steps = 0;
  #rootId: string | null = null;

  constructor(subject: Subject<I>, faults: readonly PlannedFault[]) {
    this.#subject = subject;
    this.#faults = faults;
    this.#storage = memoryStorage({ clock: { wallMs: () => EPOCH_MS + this.#time.nowMs } });
  }

  async run(): Promise<TrialResult> {
    try {
      let last = await this.#incarnation(null);
      while (last.end === null) {
        last = await this.#incarnation(() => this.#known());
      }
      const { end } = last;
      for (const zombie of this.#incarnations.filter(({ clock }) => clock.state === 'paused')) {
        zombie.wake();
        await this.#until(() => zombie.end !== null);
      }
      // What nobody awaits may still be on its way.
      while (this.#time.hot > 0) await this.#step();
      const { effects, conflicts } = this.#receiver;
      const points = this.#incarnations.map((each) => each.points);
      const effectWords = effects.map(({ key }) => this.#receiver.wordsOf(key));
      return { end, effects, effectWords, conflicts, points, timeline: this.#timeline, rootId: this.#rootId };
    } finally {
      for (const { clock } of this.#incarnations) clock.crash();
    }
  }

  async #incarnation(again: (() => Promise<CallEnd | null>) | null): Promise<Incarnation<I>> {
    const number = this.#incarnations.length;
    const around: Surroundings<I> = {
      time: this.#time,
      storage: this.#storage,
      receiver: this.#receiver,
      define: this.#subject.define,
      input: this.#subject.input,
      options: this.#subject.options,
      fraction: seededFractions(number + 1),
      tell: (who, what) =>
        void this.#timeline.push(`${String(this.#time.nowMs).padStart(7)} ms  ${who}  ${what}`),
      // The first task that is made is the one that was called.
      began: (taskId) => void (this.#rootId ??= taskId),
      rootId: () => this.#rootId,
      progressed: () => this.#progressed(),
    };
    const incarnation = new Incarnation(number + 1, around, this.#faults[number] ?? null);
    this.#incarnations.push(incarnation);
    incarnation.start(again);
    await this.#until(() => incarnation.end !== null || incarnation.fallen !== null);
    return incarnation;
  }

  /** The end of a task whose id nobody can call: waited for in the storage. Null: a call with the input is the way. */
  async #known(): Promise<CallEnd | null> {
    const taskId = this.#rootId;
    if (this.#subject.rootId !== null || taskId === null) return null;
    const wanted = [keys.head(taskId), keys.result(taskId)];
    const clock = this.#incarnations.at(-1)?.clock;
    for (;;) {
      const { records } = await this.#storage.read(`${NAMESPACE}:0`, wanted);
      if (!records[0]) return null;
      const head = decodeHead(taskId, records[0]);
      const { status, error } = head.task;
      if (status === 'completed') {
        const text = head.resultKind === 'record' ? records[1]?.get('data') : head.result;
        return {
          ended: 'returned',
          value: text === null || text === undefined ? undefined : fromJsonText(text, 'the result'),
        };
      }
      if (status === 'failed' || status === 'cancelled' || status === 'dead_letter') {
        const { name = 'Error', message = status } = error ?? {};
        return { ended: 'threw', error: Object.assign(new Error(message), { name }) };
      }
      await clock?.sleep(POLL_MS);
    }
  }

  async #until(done: () => boolean): Promise<void> {
    this.#progressed();
    while (!done()) {
      if (this.#time.hot === 0) {
        await drained();
        if (done()) return;
      }
      if (this.#time.hot === 0 && this.#waitsOutside()) await realTurn();
      else await this.#step();
      this.#assertMoving();
    }
  }

  /** Whether user code seems to be at real work, which gets some real time before virtual time goes on. */
  #waitsOutside(): boolean {
    if (this.#time.nextMs === null) return true;
    return busyOutside() > this.#atRest && performance.now() - this.#progress.realMs < PATIENCE_MS;
  }

  async #step(): Promise<void> {
    this.#steps += 1;
    await this.#time.step();
  }

  #progressed(): void {
    this.#progress = { realMs: performance.now(), virtualMs: this.#time.nowMs };
  }

  #assertMoving(): void {
    const { realMs, virtualMs } = this.#progress;
    const still = performance.now() - realMs > this.#subject.stallMs;
    const quiet = this.#time.nextMs === null || this.#time.nowMs - virtualMs > QUIET_STALL_MS;
    if (!(still && quiet) && this.#steps < MOST_STEPS) return;
    const running = this.#incarnations.filter(({ end, clock }) => end === null && clock.state === 'awake');
    const last = running
      .map(({ label, points }) => `${label} after ${points.at(-1) ?? 'its start'}`)
      .join('; ');
    throw new RecoveryError(
      'EXPLORE_STALLED',
      `The task makes no progress: ${last} awaits something that is neither ctx nor world. ` +
        'Use world.sleep for timers and world.now for the time, and stand-ins for what is outside.\n' +
        this.#timeline.slice(-20).join('\n'),
      { details: { after: running.map(({ points }) => points.at(-1) ?? null) } },
    );
  }
}

const POLL_MS = 1_000;

function realTurn(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 1);
  });
}
