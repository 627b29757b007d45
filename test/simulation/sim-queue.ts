/** A queue between the processes: it loses jobs, delivers them late, twice or to anybody, and lies about what it has. */
import type { Dispatcher, TaskEnvelope } from '../../src/domain/dispatch.js';
import type { SimProcess } from './process.js';
import type { Wire } from './sim-storage.js';

/** How badly it does, as chances from 0 to 1. */
export interface QueueTroubles {
  readonly loses: number;
  readonly doubles: number;
  readonly throws: number;
  /** Answers anything about what it has. */
  readonly lies: number;
  /** How late a job can be, in ms. */
  readonly latestMs: number;
}

/** How long a job may take to arrive when nothing is wrong, in ms. */
const HOP_MS = 5;

class SimQueue {
  readonly #wire: Wire;
  readonly #troubles: QueueTroubles;
  readonly #workers: () => readonly (SimProcess | null)[];
  /** Jobs under way, by task. */
  readonly #waiting = new Map<string, number>();
  readonly dispatcher: Dispatcher;

  constructor(wire: Wire, troubles: QueueTroubles, workers: () => readonly (SimProcess | null)[]) {
    this.#wire = wire;
    this.#troubles = troubles;
    this.#workers = workers;
    this.dispatcher = {
      dispatch: (envelope) => this.#take(envelope),
      isActive: ({ taskId }) => {
        if (this.#happens(troubles.lies)) return this.#happens(0.5) ? 'active' : 'waiting';
        return (this.#waiting.get(taskId) ?? 0) > 0 ? 'waiting' : 'gone';
      },
    };
  }

  #happens(chance: number): boolean {
    return this.#wire.fraction() < chance;
  }

  #take(envelope: TaskEnvelope): void {
    const { loses, doubles, throws } = this.#troubles;
    const { taskId, fence, kind } = envelope;
    const throwing = this.#happens(throws);
    const copies = this.#happens(loses) ? 0 : this.#happens(doubles) ? 3 : 1;
    this.#wire.log(`queue ${kind} ${taskId} ${fence}: ${copies} copies${throwing ? ', and an error' : ''}`);
    for (let copy = 0; copy < copies; copy += 1) this.#send(envelope);
    if (throwing) throw new Error('the queue is down');
  }

  #send(envelope: TaskEnvelope): void {
    const { taskId } = envelope;
    const { time, fraction } = this.#wire;
    this.#waiting.set(taskId, (this.#waiting.get(taskId) ?? 0) + 1);
    const lateMs = this.#happens(0.5) ? HOP_MS : this.#troubles.latestMs;
    time.after(1 + Math.floor(fraction() * lateMs), () => {
      this.#waiting.set(taskId, (this.#waiting.get(taskId) ?? 1) - 1);
      const workers = this.#workers().filter(
        (each) => each?.clock.state === 'awake' && each.closing === null,
      );
      workers[Math.floor(fraction() * workers.length)]?.deliver(envelope);
    });
  }
}

/** The way into a queue with a scenario's troubles; null: it has none. */
export function queueOf(
  wire: Wire,
  { queue }: { readonly queue?: QueueTroubles },
  workers: () => readonly (SimProcess | null)[],
): Dispatcher | null {
  return queue === undefined ? null : new SimQueue(wire, queue, workers).dispatcher;
}
