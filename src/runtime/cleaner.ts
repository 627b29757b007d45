/** Removes what has ended and is out of its retention, in bounded pages. Nothing live is ever touched. */
import { checkOptions, hasMethods, isFunction, number } from '../domain/check-options.js';
import type { CleanupOptions, CleanupReport } from '../domain/operations.js';
import type { RetentionSettings } from '../domain/retention.js';
import { kindOf } from '../errors.js';
import { log } from '../log.js';
import type { Head } from '../state/head.js';
import { indexes, keys } from '../state/keys.js';
import { purgeStep, RECORDS_A_BATCH } from '../state/purge.js';
import { HOUR_MS, hoursBefore } from '../state/recovery-counters.js';
import { makeToken } from '../state/token.js';
import { isCorruption } from '../state/store.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import { applied, stampFor } from './commits.js';
import type { Engine } from './engine.js';
import { assertOpen, notAfter } from './engine.js';
import { readHeads } from './heads.js';
import { purge } from './purging.js';

const STATES = ['completed', 'cancelled', 'failed', 'dead_letter'] as const;
type EndState = (typeof STATES)[number];

/** Tasks looked at together. */
const PAGE = 50;
/** Fields of heads read with one call, about: Redis takes 3 to 10 ms for the 10,000 of a task with that many steps. */
const FIELDS_A_READ = 2_000;
/** Hours whose counters are looked for when nobody has removed any before: two months. */
const FIRST_HOURS_MS = 60 * 24 * 3_600_000;
const HOURS_A_BATCH = 500;

const CHECKS = {
  limit: number(1, Number.MAX_SAFE_INTEGER),
  signal: hasMethods('addEventListener'),
  onProgress: isFunction,
};

/** One clean-up. */
class Round {
  readonly counts: Record<EndState, number> = { completed: 0, cancelled: 0, failed: 0, dead_letter: 0 };
  counters = 0;
  refused = 0;
  more = false;
  readonly #options: CleanupOptions;
  readonly #engine: Engine;
  #removed = 0;

  constructor(options: CleanupOptions, engine: Engine) {
    this.#options = options;
    this.#engine = engine;
  }

  /** Whether to go on. */
  get goes(): boolean {
    const { limit = Infinity, signal } = this.#options;
    const ended = signal?.aborted === true || this.#engine.closing !== null;
    if (this.#removed < limit && !ended) return true;
    this.more = true;
    return false;
  }

  get left(): number {
    return (this.#options.limit ?? Infinity) - this.#removed;
  }

  /** What something else has written over is left; it must not keep the others from being removed. */
  async tried(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!isCorruption(error)) throw error;
      log.recovery('clean-up left something: %s', kindOf(error));
      this.refused += 1;
    }
  }

  removed(state: EndState): void {
    this.counts[state] += 1;
    this.#removed += 1;
    try {
      const told: unknown = this.#options.onProgress?.({ removed: this.#removed });
      if (told instanceof Promise) told.catch(() => {});
    } catch (error) {
      log.recovery('onProgress failed: %s', kindOf(error));
    }
  }
}

/** How many heads to read with one call: few while nothing is known of their size, and after one with many fields. */
class Bite {
  size = 1;
  #most = 1;

  saw(heads: readonly Head[]): void {
    for (const { pieces, reached } of heads)
      this.#most = Math.max(this.#most, pieces.steps.size + pieces.maps.size + reached.size);
    this.size = Math.max(1, Math.min(PAGE, 2 * this.size, Math.floor(FIELDS_A_READ / this.#most)));
  }
}

export class Cleaner {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  readonly cleanup = async (options: CleanupOptions = {}): Promise<CleanupReport> => {
    checkOptions('cleanup', options, CHECKS, []);
    assertOpen(this.#engine);
    const { clock, store, tasks, settings } = this.#engine;
    const startedMs = clock.monotonicMs();
    const round = new Round(options, this.#engine);
    await store.look();
    const own = await this.#retentions();
    for (const name of await tasks.allNames()) {
      for (const state of STATES) {
        const keptMs = retentionFor(name, state, own, settings.retention);
        for (const partition of store.partitions)
          if (keptMs !== null && round.goes)
            await round.tried(this.#clean(round, partition, name, state, keptMs));
      }
    }
    for (const partition of store.partitions)
      if (round.goes) round.counters += await this.#removeCounters(partition);
    const { counts, counters, refused, more } = round;
    return { ...counts, counters, refused, more, durationMs: Math.round(clock.monotonicMs() - startedMs) };
  };

  /** Counters of hours that no window reaches any more; how many hours. */
  async #removeCounters(partition: string): Promise<number> {
    const { store, random, settings } = this.#engine;
    const key = keys.removedCounters;
    const { records, nowMs } = await store.readEach(partition, [key]);
    const [record = null] = records;
    if (record instanceof Error) return 0;
    const endMs = nowMs - settings.retention.countersMs;
    const earliestMs = endMs - FIRST_HOURS_MS;
    const saidMs = Number(record?.get('until') ?? earliestMs);
    // Something else has written over it, or it was written by a clock that was ahead.
    const untilMs = saidMs >= 0 && saidMs <= endMs ? saidMs : earliestMs;
    const hours = hoursBefore(untilMs, endMs).slice(0, HOURS_A_BATCH);
    if (hours.length === 0) return 0;
    const reached = Math.floor(untilMs / HOUR_MS + hours.length) * HOUR_MS;
    const { records: found } = await store.readEach(partition, hours);
    const there = found.filter((each) => each !== null).length;
    // Whoever else is at it at this moment does the same.
    const taken = await applied(this.#engine, partition, {
      guard: { key, expect: record?.get(TOKEN_FIELD) ?? null, next: makeToken(1, random.nonce(), 0) },
      notAfter: notAfter(this.#engine, partition),
      set: [{ key, fields: { until: String(reached) } }],
      remove: hours,
    });
    return taken ? there : 0;
  }

  /** How long tasks are kept by names that say so, as their workers have told. */
  async #retentions(): Promise<Map<string, number | null>> {
    const { store, handlers } = this.#engine;
    const known = new Map<string, number | null>();
    for await (const { entries } of store.pages(store.home, indexes.retentions))
      for (const { id, score } of entries) known.set(id, score < 0 ? null : score);
    for (const { name, retentionMs } of handlers.values())
      if (retentionMs !== undefined) known.set(name, retentionMs);
    return known;
  }

  async #clean(
    round: Round,
    partition: string,
    name: string,
    state: EndState,
    keptMs: number,
  ): Promise<void> {
    const { store } = this.#engine;
    const bounds = { to: { fromNow: -keptMs } };
    const bite = new Bite();
    for await (const { entries } of store.pages(partition, indexes.inState(state, name), bounds, PAGE)) {
      for (let at = 0; at < entries.length;) {
        if (!round.goes) return;
        const ids = entries.slice(at, at + bite.size).map(({ id }) => id);
        const heads = (await readHeads(store, partition, ids)).filter(isHead);
        at += ids.length;
        bite.saw(heads);
        // A record that can't be read, or whose index entry is a stray one, is for an operator to look at.
        const old = heads.filter(({ task }) => task.status === state);
        if (old.length > round.left) round.more = true;
        await this.#remove(round, state, old.slice(0, round.left));
      }
    }
  }

  /** Several small ones with one call, as many as a batch of records would be. */
  async #remove(round: Round, state: EndState, heads: readonly Head[]): Promise<void> {
    let together: Promise<void>[] = [];
    let records = 0;
    for (const head of heads) {
      const step = purgeStep(head, stampFor(this.#engine, head.task.taskId));
      together.push(
        round.tried(
          purge(this.#engine, head).then((gone) => {
            if (gone) round.removed(state);
          }),
        ),
      );
      records += step.records;
      if (records < RECORDS_A_BATCH) continue;
      await Promise.all(together);
      together = [];
      records = 0;
    }
    await Promise.all(together);
  }
}

function isHead(head: Head | Error | null): head is Head {
  return head !== null && !(head instanceof Error);
}

/** By the name's own word, or else the Recovery's; null: for ever. */
function retentionFor(
  name: string,
  state: EndState,
  own: ReadonlyMap<string, number | null>,
  settings: RetentionSettings,
): number | null {
  const said = own.get(name);
  return said === undefined ? settings[state] : said;
}
