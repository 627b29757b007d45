/** What the run of a task and the job that it came with have in common, while either is there. */
import { RecoveryError } from '../../errors.js';
import type { RecoveryContext } from '../../runtime/context.js';
import { handled } from '../../handled.js';

/** A queue as its jobs are told of something. */
export interface QueueTraits<J> {
  /** As messages call it. */
  readonly title: string;
  /** Tells a job of progress. */
  tell(job: J, percent: number): Promise<unknown>;
}

/** A job is told of progress at most this often, in ms. */
const TELL_MS = 250;

export class Link<J> {
  readonly taskId: string;
  /** Null while the task runs here without its job: it was resumed at boot. */
  job: J | null = null;
  holders = 0;
  readonly #queue: QueueTraits<J>;
  readonly #controller = new AbortController();
  #percent: number | null = null;
  #timer: NodeJS.Timeout | null = null;
  #telling: Promise<void> = Promise.resolve();

  constructor(queue: QueueTraits<J>, taskId: string) {
    this.#queue = queue;
    this.taskId = taskId;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** A job has come for the task: its signal counts, until the function that this returns is called. */
  join(job: J, signal: AbortSignal | undefined): () => void {
    this.job = job;
    const abort = (): void =>
      this.#controller.abort(cancelled(this.#queue.title, this.taskId, signal?.reason));
    if (signal?.aborted === true) abort();
    signal?.addEventListener('abort', abort, { once: true });
    this.#tellInTurn();
    return () => {
      signal?.removeEventListener('abort', abort);
      if (this.job === job) this.job = null;
    };
  }

  /** Tells the job now or soon; the last of several wins. */
  progress(percent: number): void {
    this.#percent = percent;
    this.#tellInTurn();
  }

  /** Resolves once the job has been told of everything. */
  async told(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#tell();
    await this.#telling;
  }

  #tellInTurn(): void {
    if (this.#timer !== null || this.job === null || this.#percent === null) return;
    this.#tell();
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#tellInTurn();
    }, TELL_MS);
    this.#timer.unref();
  }

  #tell(): void {
    const { job } = this;
    const queue = this.#queue;
    const percent = this.#percent;
    if (job === null || percent === null) return;
    this.#percent = null;
    // One after the other, and best effort: the task's own record is what counts.
    this.#telling = this.#telling.then(async () => void (await queue.tell(job, percent))).catch(() => {});
  }
}

function cancelled(title: string, taskId: string, reason: unknown): RecoveryError {
  const why = typeof reason === 'string' ? `: ${reason}` : '';
  return new RecoveryError('TASK_CANCELLED', `${title} has cancelled the job of task "${taskId}"${why}.`, {
    retryable: true,
    cause: reason,
    details: { taskId },
  });
}

/** The links of one processor. */
export class Links<J> {
  readonly #queue: QueueTraits<J>;
  readonly #links = new Map<string, Link<J>>();

  constructor(queue: QueueTraits<J>) {
    this.#queue = queue;
  }

  hold(taskId: string): Link<J> {
    let link = this.#links.get(taskId);
    if (link === undefined) this.#links.set(taskId, (link = new Link(this.#queue, taskId)));
    link.holders += 1;
    return link;
  }

  drop(link: Link<J>): void {
    link.holders -= 1;
    if (link.holders === 0) this.#forget(link);
  }

  /** The run that the job was cancelled in has ended: the next one is not to hear of that. */
  settle(link: Link<J>): void {
    if (link.signal.aborted) this.#forget(link);
  }

  #forget(link: Link<J>): void {
    if (this.#links.get(link.taskId) === link) this.#links.delete(link.taskId);
  }
}

/** Calls that come to an end with the job's signal. */
const CALLS: ReadonlySet<unknown> = new Set(['step', 'map', 'createCheckpoint', 'updateProgress']);

/** The context, with a signal that the job's cancellation aborts too, and with progress that the job is told of. */
export function linked<J, D>(ctx: RecoveryContext<D>, link: Link<J>): RecoveryContext<D> {
  const signal = AbortSignal.any([ctx.signal, link.signal]);
  const updateProgress: RecoveryContext<D>['updateProgress'] = (percent, ...rest) =>
    handled(async () => {
      await ctx.updateProgress(percent, ...rest);
      link.progress(percent);
    });
  const createCheckpoint: RecoveryContext<D>['createCheckpoint'] = (checkpoint) =>
    handled(async () => {
      await ctx.createCheckpoint(checkpoint);
      link.progress(checkpoint.progressPercent);
    });
  const refuse = (): Promise<never> => handled(() => Promise.reject(link.signal.reason));
  const own = new Map<unknown, unknown>(Object.entries({ signal, updateProgress, createCheckpoint }));
  return new Proxy(ctx, {
    get: (target, key) => {
      if (CALLS.has(key) && link.signal.aborted) return refuse;
      // Its members are bound, or getters that need the context itself.
      return own.get(key) ?? Reflect.get(target, key);
    },
  });
}
