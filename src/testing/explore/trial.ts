/** One run of a task under planned faults, from an empty storage to the end, and what became of everything. */
import { fromJsonText } from '../../domain/json.js';
import { decodeHead } from '../../state/head.js';
import { keys } from '../../state/keys.js';
import { memoryStorage } from '../../storage/memory.js';
import { EPOCH_MS, seededFractions, VirtualTime } from '../virtual-clock.js';
import type { Storage } from '../../storage/storage.js';
import { Drive } from './drive.js';
import { Incarnation } from './incarnation.js';
import type { CallEnd, Define, ExploreRecoveryOptions, Surroundings } from './incarnation.js';
import type { PlannedFault } from './points.js';
import { Receiver } from './receiver.js';
import type { Effect, StableIds } from './receiver.js';

/** What is run. */
export interface Subject<I> {
  readonly define: Define<I>;
  readonly input: I;
  readonly options: ExploreRecoveryOptions;
  /** Real time without any progress after which a run is given up, in ms. */
  readonly stallMs: number;
  /** The task's id, where it is the same each time it is called; a later call with the input is then the same task. */
  readonly rootId: string | null;
  /** Ids of tasks that are the same in each run; null before that is known. */
  readonly stable: StableIds | null;
  /** Tells the ids that are drawn in one run from those of another. */
  readonly salt: string;
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
  /** The durable writes of the first one. */
  readonly writes: readonly string[];
  readonly timeline: readonly string[];
  /** The id of the task that the first call began; null when that never became durable. */
  readonly rootId: string | null;
  /** The ids of all tasks that were begun. */
  readonly taskIds: StableIds;
  /** {@link effectWords} once it is known which ids are the same in each run. */
  readonly wordsBy: (stable: StableIds) => string[];
}

/** Before the first run. */
export const NOTHING_KNOWN = { rootId: null, stable: null, salt: '' } as const;

const NAMESPACE = 'rekindle';

export class Trial<I> {
  readonly #subject: Subject<I>;
  readonly #faults: readonly PlannedFault[];
  readonly #time = new VirtualTime();
  readonly #storage: Storage;
  readonly #receiver = new Receiver();
  readonly #timeline: string[] = [];
  readonly #incarnations: Incarnation<I>[] = [];
  readonly #drive: Drive;
  readonly #outside = new Map<string, unknown>();
  readonly #taskIds = new Set<string>();
  #rootId: string | null = null;

  constructor(subject: Subject<I>, faults: readonly PlannedFault[]) {
    this.#subject = subject;
    this.#faults = faults;
    this.#storage = memoryStorage({ clock: { wallMs: () => EPOCH_MS + this.#time.nowMs } });
    this.#drive = new Drive({
      time: this.#time,
      post: null,
      stallMs: subject.stallMs,
      timeline: this.#timeline,
      running: () => stillRunning(this.#incarnations),
    });
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
        await this.#drive.until(() => zombie.end !== null);
      }
      // What nobody awaits may still be on its way.
      await this.#drive.settle();
      const { effects, conflicts } = this.#receiver;
      const points = this.#incarnations.map((each) => each.points);
      const wordsBy = (stable: StableIds | null): string[] =>
        effects.map(({ key }) => this.#receiver.wordsOf(key, stable));
      const writes = this.#incarnations[0]?.writes ?? [];
      const said = { points, writes, timeline: this.#timeline, rootId: this.#rootId, taskIds: this.#taskIds };
      return { end, effects, effectWords: wordsBy(this.#subject.stable), wordsBy, conflicts, ...said };
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
      salt: this.#subject.salt,
      outside: this.#outside,
      tell: (who, what) =>
        void this.#timeline.push(`${String(this.#time.nowMs).padStart(7)} ms  ${who}  ${what}`),
      // The first task that is made is the one that was called.
      began: (taskId) => {
        this.#rootId ??= taskId;
        this.#taskIds.add(taskId);
      },
      rootId: () => this.#rootId,
      progressed: () => this.#drive.progressed(),
      carry: ({ hopMs }, deliver) => void this.#time.after(hopMs, deliver, true),
      waits: true,
    };
    const incarnation = new Incarnation(number + 1, around, this.#faults[number] ?? null);
    this.#incarnations.push(incarnation);
    incarnation.start(again);
    await this.#drive.until(() => incarnation.end !== null || incarnation.fallen !== null);
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
        const { name = 'Error', message = status, code = null } = error ?? {};
        return { ended: 'threw', error: Object.assign(new Error(message), { name, code }) };
      }
      await clock?.sleep(POLL_MS);
    }
  }
}

/** The processes whose calls have not ended, and how far each has come. */
export function stillRunning<I>(all: readonly Incarnation<I>[]): { label: string; after: string | null }[] {
  return all
    .filter(({ end, clock }) => end === null && clock.state === 'awake')
    .map(({ label, points }) => ({ label, after: points.at(-1) ?? null }));
}

const POLL_MS = 1_000;
