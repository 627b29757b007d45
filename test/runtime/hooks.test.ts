/** Watchers: what they do changes nothing for what they watch. */
import { AsyncLocalStorage } from 'node:async_hooks';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AttemptInfo, RecoveryHooks, Watched } from '../../src/domain/hooks.js';
import { Hooks } from '../../src/runtime/hooks.js';
import { rejectionOf, trapUnhandledRejections } from './harness.js';

trapUnhandledRejections();

const ABOUT: AttemptInfo = {
  taskId: 't',
  name: 'n',
  attempt: 1,
  fence: 1,
  recovered: false,
  cause: null,
  decision: null,
  kept: null,
  keep: () => {},
};

type Watch = (about: unknown, run: () => Promise<Watched>) => unknown;

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
};

/** What hooks do, the good and the bad. */
const WATCHES: Readonly<Record<string, Watch>> = {
  returns: (_about, run) => run(),
  awaits: async (_about, run) => {
    await run();
  },
  'does not return it': (_about, run) => void run(),
  'throws first': () => {
    throw new Error('hook');
  },
  'throws afterwards': (_about, run) => {
    void run();
    throw new Error('hook');
  },
  'rejects first': async () => {
    throw new Error('hook');
  },
  'rejects afterwards': async (_about, run) => {
    await run();
    throw new Error('hook');
  },
  'never calls it': () => undefined,
  'never ends': () => new Promise(() => {}),
  'calls it twice': (_about, run) => Promise.all([run(), run()]),
  'calls it again later': async (_about, run) => {
    await run();
    await run();
  },
  'calls it late': async (_about, run) => {
    await turns(3);
    await run();
  },
  'does as it likes with the end': async (_about, run) => ({ ...(await run()), ok: true }),
  'gives a thenable that throws': (_about, run) => {
    void run();
    return {
      // eslint-disable-next-line unicorn/no-thenable
      get then() {
        throw new Error('hook');
      },
    };
  },
};

/** What functions do, and what they settle as without any hook. */
const FUNCTIONS: Readonly<Record<string, () => unknown>> = {
  'returns a value': () => 7,
  'returns nothing': () => undefined,
  'returns a promise': async () => {
    await turns(2);
    return 7;
  },
  throws: () => {
    throw new Error('work');
  },
  rejects: async () => {
    await turns(2);
    throw new Error('work');
  },
  'throws a promise': () => {
    throw Promise.resolve(1);
  },
  'throws undefined': () => {
    throw undefined;
  },
};

async function settledAs(work: Promise<unknown>): Promise<unknown> {
  const [end] = await Promise.allSettled([work]);
  return end;
}

async function endOf(name: string): Promise<unknown> {
  return settledAs((async () => FUNCTIONS[name]?.())());
}

describe('what hooks do', () => {
  it('changes neither how often the work runs, nor when, nor how it ends', async () => {
    const names = fc.array(fc.constantFrom(...Object.keys(WATCHES)), { maxLength: 4 });
    const kinds = fc.constantFrom(...Object.keys(FUNCTIONS));
    await fc.assert(
      fc.asyncProperty(names, kinds, fc.constantFrom('attempt', 'step'), async (watches, kind, point) => {
        const hooks = new Hooks(watches.map((name) => ({ attempt: WATCHES[name], step: WATCHES[name] })));
        let runs = 0;
        const work = (): unknown => {
          runs += 1;
          return FUNCTIONS[kind]?.();
        };
        const ended =
          point === 'attempt'
            ? hooks.attempt(ABOUT, work)
            : hooks.step({ taskId: 't', name: 'n', attempt: 1, step: 's' }, work);
        expect(runs).toBe(1);
        expect(await settledAs(ended)).toEqual(await endOf(kind));
        await turns(10);
        expect(runs).toBe(1);
      }),
      { numRuns: 500 },
    );
  });

  it('is not a way to run it from within', async () => {
    let again: () => Promise<Watched> = async () => ({ ok: true });
    const hooks = new Hooks([
      { attempt: (_about, run) => (again = run)() },
      // Calls the outer one's, while that is on its way.
      { attempt: (_about, run) => Promise.all([again(), run()]) },
    ]);
    let runs = 0;
    const work = (): number => {
      void again();
      return (runs += 1);
    };
    expect(await hooks.attempt(ABOUT, work)).toBe(1);
    expect(runs).toBe(1);
  });

  it('hears how it ended, and never an unhandled rejection', async () => {
    const ends: unknown[] = [];
    const hooks = new Hooks({
      attempt: (_about, run) => void run().then((end) => ends.push(end)),
      recovery: (run) => void run().then((end) => ends.push(end)),
    });
    const wrong = new Error('work');
    await hooks.attempt(ABOUT, () => 'result');
    expect(await rejectionOf(hooks.attempt(ABOUT, () => Promise.reject(wrong)))).toBe(wrong);
    const figures = { discovered: 1, recovered: 1, failed: 0, skipped: 0, deferred: 0, deadLettered: 0 };
    expect(await hooks.recovery(() => figures)).toBe(figures);
    await rejectionOf(hooks.recovery(() => Promise.reject(wrong)));
    await turns(3);
    expect(ends).toEqual([
      { ok: true },
      { ok: false, error: wrong },
      { ok: true, figures },
      { ok: false, error: wrong },
    ]);
  });

  it('the first ones are the outermost, and what they enter is there within', async () => {
    const local = new AsyncLocalStorage<string>();
    const order: string[] = [];
    const hook = (name: string): RecoveryHooks => ({
      attempt: async (_about, run) => {
        order.push(`${name} in`);
        await local.run(`${local.getStore() ?? ''}${name}`, run);
        order.push(`${name} out`);
      },
    });
    const hooks = new Hooks([hook('a'), { step: WATCHES['returns'] }, hook('b')]);
    const seen = await hooks.attempt(ABOUT, async () => {
      await turns(2);
      return local.getStore();
    });
    await turns(5);
    expect(seen).toBe('ab');
    expect(order).toEqual(['a in', 'b in', 'b out', 'a out']);
    expect(local.getStore()).toBeUndefined();
  });

  it('of those that are only told, what they throw reaches nobody', async () => {
    const told: unknown[] = [];
    const bad: RecoveryHooks = {
      checkpoint: () => {
        throw new Error('hook');
      },
      takeover: () => Promise.reject(new Error('hook')),
    };
    const hooks = new Hooks([
      bad,
      { checkpoint: (about) => told.push(about), takeover: (about) => told.push(about) },
    ]);
    const written = { taskId: 't', name: 'n', attempt: 1, checkpoint: 'c', sizeBytes: 3, latencyMs: 2 };
    const takeover = {
      taskId: 't',
      name: 'n',
      attempt: 2,
      cause: 'own',
      decision: 'resume',
      silentMs: null,
    } as const;
    hooks.checkpoint(written);
    hooks.takeover(takeover);
    expect(told).toEqual([written, takeover]);
  });
});

describe('adding and taking off', () => {
  it('is active while there is anybody', () => {
    const hooks = new Hooks();
    expect(hooks.active).toBe(false);
    const one = { attempt: WATCHES['returns'] };
    const [first, second] = [hooks.add(one), hooks.add(one)];
    first();
    first();
    expect(hooks.active).toBe(true);
    second();
    expect(hooks.active).toBe(false);
  });

  it('methods of a class keep their object', async () => {
    class Counting {
      #seen = 0;
      get seen(): number {
        return this.#seen;
      }
      attempt(_about: AttemptInfo, run: () => Promise<Watched>): unknown {
        this.#seen += 1;
        return run();
      }
    }
    const counting = new Counting();
    await new Hooks(counting).attempt(ABOUT, () => 1);
    expect(counting.seen).toBe(1);
  });

  it('one that is taken off in the middle is still told of that end', async () => {
    const ends: Watched[] = [];
    const hooks = new Hooks();
    const off = hooks.add({ attempt: async (_about, run) => ends.push(await run()) });
    await hooks.attempt(ABOUT, () => off());
    await hooks.attempt(ABOUT, () => 1);
    await turns(3);
    expect(ends).toEqual([{ ok: true }]);
  });

  it.each([[null], [undefined], ['x'], [{ attempts: () => {} }], [{ attempt: 'x' }], [[]]])(
    'refuses %j',
    (given) => {
      expect(() => Reflect.apply(new Hooks().add, null, [given])).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      );
    },
  );
});
