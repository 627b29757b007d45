/** The durable events as server-sent events. */
import type { RecoveryEvent } from '../../domain/events.js';
import { kindOf } from '../../errors.js';
import { log } from '../../log.js';
import { streamAnswer } from './answers.js';
import { touchStorage } from './health-routes.js';
import { eventsQuery, queryOf } from './requests.js';
import type { Asked, Route } from './route.js';
import { shownEvent } from './shown.js';

const TYPE = 'text/event-stream; charset=utf-8';
/** A client that was cut off comes again after so many ms. */
const RETRY_MS = 2_000;

function frameOf(event: RecoveryEvent): string {
  // The type is one of ours, and the cursor and JSON hold no line breaks.
  const id = event.cursor === null ? '' : `id: ${event.cursor}\n`;
  return `${id}event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** Goes on where the client was cut off, which browsers say in a header. */
function cursorOf({ request, query }: Asked): string | undefined {
  const { after } = queryOf(query, eventsQuery);
  const last = request.headers.get('last-event-id');
  return last === null || last === '' ? after : last;
}

/** One client's stream, from its first event to the end of either side. */
class Stream {
  readonly #asked: Asked;
  readonly #leave: () => void;
  readonly #stop = new AbortController();
  readonly #events: AsyncIterator<RecoveryEvent>;
  readonly #abort = (): void => this.end();
  #first: Promise<IteratorResult<RecoveryEvent>> | null;
  #beat: NodeJS.Timeout | undefined;

  constructor(asked: Asked, after: string | undefined, leave: () => void) {
    const { recovery, request } = asked;
    this.#asked = asked;
    this.#leave = leave;
    const options = { signal: this.#stop.signal, ...(after === undefined ? {} : { after }) };
    this.#events = recovery.events(options)[Symbol.asyncIterator]();
    this.#first = this.#events.next();
    this.#first.catch(() => {});
    request.signal.addEventListener('abort', this.#abort, { once: true });
    if (request.signal.aborted) this.end();
  }

  /** A foreign cursor is refused before anything is read: that is soon enough for a status. @throws `INVALID_VALUE` */
  async begun(): Promise<void> {
    const turn = new Promise<void>((resolve) => setImmediate(resolve));
    try {
      await Promise.race([this.#first, turn]);
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Reads on only when the client does. */
  body(): ReadableStream<Uint8Array> {
    const encoder = new TextEncoder();
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        const write = (text: string): void => controller.enqueue(encoder.encode(text));
        write(`retry: ${RETRY_MS}\n\n`);
        this.#beat = setInterval(() => {
          if ((controller.desiredSize ?? 0) > 0) write(':\n\n');
        }, this.#asked.settings.heartbeatMs);
        this.#beat.unref();
      },
      pull: async (controller) => {
        const event = await this.#next();
        if (event !== null)
          controller.enqueue(encoder.encode(frameOf(shownEvent(this.#asked.settings, event))));
        else {
          this.end();
          controller.close();
        }
      },
      cancel: () => this.end(),
    });
  }

  /** Null at the end, be it one that an outage made: the client comes again, and goes on where it was. */
  async #next(): Promise<RecoveryEvent | null> {
    try {
      const { done, value } = await (this.#first ?? this.#events.next());
      this.#first = null;
      return done === true ? null : value;
    } catch (error) {
      log.http('an event stream ended: %s', kindOf(error));
      return null;
    }
  }

  end(): void {
    clearInterval(this.#beat);
    this.#asked.request.signal.removeEventListener('abort', this.#abort);
    this.#stop.abort();
    this.#leave();
  }
}

async function follow(asked: Asked): Promise<Response> {
  const after = cursorOf(asked);
  if (asked.request.method === 'HEAD') return streamAnswer(null, TYPE);
  const leave = asked.followers.enter();
  try {
    // An outage is better told by a status than by a stream that ends.
    await touchStorage(asked);
    const stream = new Stream(asked, after, leave);
    await stream.begun();
    return streamAnswer(stream.body(), TYPE);
  } catch (error) {
    leave();
    throw error;
  }
}

export const EVENTS_ROUTE: Route = {
  method: 'GET',
  path: '/recovery/events',
  summary: 'Follows the events of all workers, from `after` or the header Last-Event-ID on.',
  query: eventsQuery,
  answers: { 200: null },
  type: 'text/event-stream',
  answer: follow,
};
