/** One race: several workers call the same task with the same input, on one storage. */
import { storageOver } from '../../storage/memory.js';
import { DEFAULT_MAX_EVENTS } from '../../storage/storage.js';
import { Drive } from '../explore/drive.js';
import { Incarnation } from '../explore/incarnation.js';
import type { CallEnd, Surroundings } from '../explore/incarnation.js';
import { Receiver } from '../explore/receiver.js';
import type { Effect } from '../explore/receiver.js';
import { stillRunning } from '../explore/trial.js';
import type { Subject } from '../explore/trial.js';
import { EPOCH_MS, seededFractions, VirtualTime } from '../virtual-clock.js';
import { LeaseWatch, WatchedPartition } from './lease-watch.js';
import { Mail } from './mail.js';

/** What became of a race. */
export interface RaceResult {
  /** How each worker's call ended, in the order of the workers. */
  readonly ends: readonly CallEnd[];
  readonly effects: readonly Effect[];
  /** Their keys in words that are the same in every run. */
  readonly effectWords: readonly string[];
  readonly conflicts: Receiver['conflicts'];
  /** What was wrong with leases. */
  readonly leaseFaults: readonly string[];
  readonly timeline: readonly string[];
  /** The order in which messages were delivered. */
  readonly order: string;
}

export class Race<I> {
  readonly #subject: Subject<I>;
  readonly #time = new VirtualTime();
  readonly #watch = new LeaseWatch();
  readonly #receiver = new Receiver();
  readonly #timeline: string[] = [];
  readonly #mail: Mail;
  readonly #workers: readonly Incarnation<I>[];
  readonly #drive: Drive;

  constructor(subject: Subject<I>, workers: number, choices: readonly number[]) {
    this.#subject = subject;
    this.#mail = new Mail(choices);
    const around = this.#surroundings();
    this.#workers = Array.from(
      { length: workers },
      (_, at) => new Incarnation(at + 1, { ...around, fraction: seededFractions(at + 1) }, null),
    );
    this.#drive = new Drive({
      time: this.#time,
      post: this.#mail,
      stallMs: subject.stallMs,
      timeline: this.#timeline,
      running: () => stillRunning(this.#workers),
    });
  }

  async run(): Promise<RaceResult> {
    try {
      for (const worker of this.#workers) {
        this.#mail.put({ from: worker, way: 'there' }, () => {
          this.#tell(worker.label, 'the call begins');
          worker.start(null);
        });
      }
      await this.#drive.until(() => this.#workers.every(({ end }) => end !== null));
      // What nobody awaits may still be on its way.
      await this.#drive.settle();
      const { effects, conflicts } = this.#receiver;
      return {
        ends: this.#workers.flatMap(({ end }) => end ?? []),
        effects,
        effectWords: effects.map(({ key }) => this.#receiver.wordsOf(key, this.#subject.stable)),
        conflicts,
        leaseFaults: this.#watch.faults,
        timeline: this.#timeline,
        order: this.#mail.served.join(' '),
      };
    } finally {
      for (const { clock } of this.#workers) clock.crash();
    }
  }

  #surroundings(): Surroundings<I> {
    const { define, input, options } = this.#subject;
    const clock = { wallMs: () => EPOCH_MS + this.#time.nowMs };
    return {
      time: this.#time,
      storage: storageOver(() => new WatchedPartition(DEFAULT_MAX_EVENTS, this.#watch), clock, 1),
      receiver: this.#receiver,
      define,
      input,
      options,
      fraction: seededFractions(0),
      salt: '',
      outside: new Map(),
      carry: (message, deliver) => {
        const { from, way, words } = message;
        this.#mail.put(message, () => {
          if (way === 'there' && words !== null) this.#tell(from.label, `arrives: ${words}`);
          deliver();
        });
      },
      waits: false,
      tell: (who, what) => this.#tell(who, what),
      began: () => {},
      rootId: () => null,
      progressed: () => this.#drive.progressed(),
    };
  }

  #tell(who: string, what: string): void {
    this.#timeline.push(`${String(this.#time.nowMs).padStart(7)} ms  ${who}  ${what}`);
  }
}
