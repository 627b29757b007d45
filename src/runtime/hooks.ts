/**
 * Calls watchers. Whatever they do, what they watch runs once, at once, and ends as it would have without them.
 * Where nobody watches, `active` is all that is looked at.
 */
import { checkOptions, isFunction } from '../domain/check-options.js';
import type {
  AttemptInfo,
  CheckpointWritten,
  PassFigures,
  RecoveryHooks,
  StepInfo,
  Takeover,
  Watched,
  WatchedPass,
} from '../domain/hooks.js';
import { kindOf } from '../errors.js';
import { log } from '../log.js';

const CHECKS = {
  attempt: isFunction,
  step: isFunction,
  recovery: isFunction,
  checkpoint: isFunction,
  takeover: isFunction,
};

type Work<T> = () => T | Promise<T>;

/** A watcher that is given what it watches. `E`: what it hears of the end. */
type Around<E> = (run: () => Promise<E>) => unknown;

const OK = { ok: true } as const;

type Failed = Extract<Watched, { readonly ok: false }>;

function failed(error: unknown): Failed {
  return { ok: false, error };
}

export class Hooks {
  /** Whether anybody watches. */
  active = false;
  /** Replaced whole: who is in the middle of something goes on with the watchers that it began with. */
  #watchers: readonly RecoveryHooks[] = [];

  /** @throws `INVALID_OPTION` */
  constructor(given: RecoveryHooks | readonly RecoveryHooks[] = []) {
    for (const hooks of listOf(given)) this.add(hooks);
  }

  /** Returns a function that takes them off. @throws `INVALID_OPTION` */
  readonly add = (hooks: RecoveryHooks): (() => void) => {
    checkOptions('hooks', hooks, CHECKS, []);
    // Each is read once. An object of its own: hooks that were added twice are taken off one by one.
    const watcher: RecoveryHooks = {
      attempt: hooks.attempt?.bind(hooks),
      step: hooks.step?.bind(hooks),
      recovery: hooks.recovery?.bind(hooks),
      checkpoint: hooks.checkpoint?.bind(hooks),
      takeover: hooks.takeover?.bind(hooks),
    };
    this.#set([...this.#watchers, watcher]);
    return () => this.#set(this.#watchers.filter((each) => each !== watcher));
  };

  #set(watchers: readonly RecoveryHooks[]): void {
    this.#watchers = watchers;
    this.active = watchers.length > 0;
  }

  attempt<T>(about: AttemptInfo, work: Work<T>): Promise<T> {
    const around = this.#watchers.flatMap(({ attempt }) => attempt ?? []);
    return once(
      work,
      () => OK,
      around.map((watch) => (run) => watch(about, run)),
    );
  }

  step<T>(about: StepInfo, work: Work<T>): Promise<T> {
    const around = this.#watchers.flatMap(({ step }) => step ?? []);
    return once(
      work,
      () => OK,
      around.map((watch) => (run) => watch(about, run)),
    );
  }

  recovery<T extends PassFigures>(work: Work<T>): Promise<T> {
    const around = this.#watchers.flatMap(({ recovery }) => recovery ?? []);
    return once<T, WatchedPass>(work, (figures) => ({ ok: true, figures }), around);
  }

  checkpoint(about: CheckpointWritten): void {
    for (const hooks of this.#watchers) safely(() => hooks.checkpoint?.(about));
  }

  takeover(about: Takeover): void {
    for (const hooks of this.#watchers) safely(() => hooks.takeover?.(about));
  }
}

function listOf(given: RecoveryHooks | readonly RecoveryHooks[]): readonly RecoveryHooks[] {
  return isList(given) ? given : [given];
}

function isList(given: RecoveryHooks | readonly RecoveryHooks[]): given is readonly RecoveryHooks[] {
  return Array.isArray(given);
}

/**
 * Runs the work within its watchers, the first one the outermost. Synchronous up to the work's own first wait, as it is
 * without them. `E`: what they hear of its end.
 */
function once<T, E>(work: Work<T>, told: (value: T) => E, around: readonly Around<E | Failed>[]): Promise<T> {
  let settle: (value: T | Promise<T>) => void = () => {};
  let refuse: (error: unknown) => void = () => {};
  const result = new Promise<T>((resolve, reject) => {
    settle = resolve;
    refuse = reject;
  });
  const end: Promise<E | Failed> = result.then(told, failed);
  let entered = 0;
  const enter = (level: number): Promise<E | Failed> => {
    // Called twice, or after the work was begun without it.
    if (level < entered) return end;
    entered = level + 1;
    const watch = around[level];
    if (watch === undefined) {
      try {
        settle(work());
      } catch (error) {
        refuse(error);
      }
      return end;
    }
    safely(() => watch(() => enter(level + 1)));
    // One that has not called it is passed over.
    return enter(level + 1);
  };
  void enter(0);
  return result;
}

function complain(error: unknown): void {
  log.recovery('a hook failed: %s', kindOf(error));
}

/** What a watcher throws or rejects with goes no further. */
function safely(call: () => unknown): void {
  try {
    Promise.resolve(call()).catch(complain);
  } catch (error) {
    complain(error);
  }
}
