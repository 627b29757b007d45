/** The named pieces of one attempt: steps and maps, their names, and keys for the outside world. */
import { createHash } from 'node:crypto';
import { checkId } from '../domain/ids.js';
import { RecoveryError } from '../errors.js';
import type { Draft } from '../state/draft.js';
import type { KeptPieces } from '../state/ledger.js';
import type { LiveTask } from '../state/live-task.js';
import type { RecordWriter } from '../state/record-writer.js';
import { localEvent } from '../state/task-events.js';
import type { Fields } from '../storage/storage.js';
import { MapRun } from './items.js';
import type { MapItems } from './context.js';
import type { Engine } from './engine.js';
import type { DoneItem, ItemContext, MapHooks, MapOptions } from './items.js';
import type { Gate } from './gate.js';
import type { Journal } from './journal.js';
import { runStep } from './steps.js';
import type { PieceWorld, StepOptions } from './steps.js';
import { handled } from '../handled.js';
import { storedErrorOf } from './task-errors.js';

/** The same for every attempt of a task, and for no other task, one deleted and made anew under its id included. */
function idempotencyKeyOf(namespace: string, taskId: string, origin: number, name: string): string {
  return createHash('sha256').update([namespace, taskId, origin, name].join('\0')).digest('base64url');
}

/** Which of these items of a map are done, as the outside world knows it. */
export type DiscoverHook = (
  map: string,
  keys: readonly string[],
) => Promise<ReadonlyMap<string, unknown> | null>;

/** The parts of an attempt that its pieces use. */
export interface PieceParts {
  readonly engine: Engine;
  readonly taskName: string;
  readonly live: LiveTask;
  readonly writer: RecordWriter;
  readonly attempt: { readonly journal: Journal; readonly gate: Gate };
  readonly kept: KeptPieces;
  readonly discover: DiscoverHook | null;
}

export function piecesOf(parts: PieceParts): Pieces {
  const { engine, live, writer, attempt, kept, discover } = parts;
  const { settings, store, clock, emitter, hooks } = engine;
  const { taskId } = live.start;
  const world: PieceWorld = {
    taskId,
    taskName: parts.taskName,
    kept,
    limits: settings.limits,
    live,
    hooks,
    signal: () => attempt.gate.signal(),
    assertUsable: () => attempt.gate.assertUsable(),
    idempotencyKey: (name) => idempotencyKeyOf(settings.namespace, taskId, kept.origin, name),
    encoded: store.payloads.encoded,
    seal: (text, place) => store.payloads.seal(text, taskId, place),
    open: (stored, place) => store.payloads.open(stored, taskId, place),
    errorOf: (thrown) => storedErrorOf(thrown, settings),
    read: async (key, fields) => (await store.read(writer.partition, [key], fields)).records[0] ?? null,
    write: (change) => {
      attempt.journal.movedMs = clock.monotonicMs();
      return writer.write(change);
    },
    writeThen: (change, then) => {
      attempt.journal.movedMs = clock.monotonicMs();
      return writer.writeThen(change, then);
    },
    nowMs: () => clock.monotonicMs(),
  };
  const itemEvent = (draft: Draft, map: string, { key, index, runMs }: DoneItem): Fields => {
    const details = { map, key, index: String(index), run_ms: String(Math.round(runMs)) };
    return live.event(draft, 'item_completed', details);
  };
  return new Pieces(world, {
    discover: async (name, itemKeys) => (discover === null ? null : discover(name, itemKeys)),
    keep: (map, mark, key, entry, done) => {
      let event: Fields | null = null;
      return world.writeThen(
        (draft) => {
          live.item(draft, map, mark, key, entry);
          if (done !== null && settings.itemEvents) event = itemEvent(draft, map, done);
        },
        (nowMs) => {
          if (event !== null) emitter.emit(localEvent(event, nowMs));
        },
      );
    },
  });
}

export class Pieces {
  readonly #world: PieceWorld;
  readonly #hooks: MapHooks;
  readonly #used = new Set<string>();

  constructor(world: PieceWorld, hooks: MapHooks) {
    this.#world = world;
    this.#hooks = hooks;
  }

  readonly step = <R>(name: string, fn: () => R | Promise<R>, options: StepOptions<R> = {}): Promise<R> =>
    handled(() => {
      this.#reserve('step', name, fn);
      return runStep(this.#world, name, fn, options);
    });

  readonly idempotencyKey = (name: string): string => this.#world.idempotencyKey(checkId('The name', name));

  /** What it resolves to follows from the options, as `MapItems` says. */
  readonly map: MapItems = (<T, R>(
    name: string,
    items: readonly T[],
    fn: (item: T, context: ItemContext) => R | Promise<R>,
    options: MapOptions<T>,
  ): Promise<unknown> =>
    handled(() => {
      this.#reserve('map', name, fn);
      return new MapRun(this.#world, this.#hooks, name, items, fn, options).run();
    })) as MapItems;

  /** Takes a name for this attempt. @throws `INVALID_ID`, `INVALID_VALUE`, `DUPLICATE_STEP`, `LIMIT_EXCEEDED` */
  #reserve(kind: 'step' | 'map', name: string, fn: unknown): void {
    this.#world.assertUsable();
    checkId(`The ${kind} name`, name);
    if (typeof fn !== 'function')
      throw new RecoveryError('INVALID_VALUE', `${kind} "${name}" needs a function.`);
    if (this.#used.has(name)) {
      throw new RecoveryError(
        'DUPLICATE_STEP',
        `"${name}" was used already in this attempt of "${this.#world.taskName}". In a loop use ctx.map, or put a key into the name.`,
      );
    }
    const { stepNames } = this.#world.limits;
    if (this.#used.size >= stepNames) {
      throw new RecoveryError(
        'LIMIT_EXCEEDED',
        `A task has at most ${stepNames} steps and maps; use ctx.map for many.`,
      );
    }
    this.#used.add(name);
  }
}
