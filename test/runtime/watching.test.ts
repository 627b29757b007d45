/** What watchers of a Recovery see: attempts, steps, checkpoints, takeovers and passes, over crashes. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aesGcmCodec } from '../../src/domain/codec.js';
import type { AttemptInfo, RecoveryHooks } from '../../src/domain/hooks.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { Hooks } from '../../src/runtime/hooks.js';
import { currentTask } from '../../src/runtime/task-context.js';
import { watched } from '../../src/runtime/watching.js';
import { engineWith } from './fakes.js';
import { gate, LEASE_MS, rejectionOf, SWEEP_MS, trapUnhandledRejections, World } from './harness.js';
import type { Proc } from './harness.js';
import { die, fieldsOf, startQuietly, swept } from './lab.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

type Seen = (readonly [kind: string, about?: object])[];

/** Hooks that write down what they are told. */
function scribe(seen: Seen): RecoveryHooks {
  return {
    attempt: async ({ keep: _keep, fence: _fence, ...about }, run) => {
      seen.push(['attempt', about]);
      seen.push(['attempt ended', await run()]);
    },
    step: async (about, run) => {
      seen.push(['step', about]);
      seen.push(['step ended', await run()]);
    },
    recovery: async (run) => {
      seen.push(['recovery']);
      seen.push(['recovery ended', await run()]);
    },
    checkpoint: (about) => seen.push(['checkpoint', about]),
    takeover: (about) => seen.push(['takeover', about]),
  };
}

function define({ recovery }: Proc, body: (ctx: RecoveryContext) => unknown) {
  return recovery.withRecovery(body, { name: 'n', taskId: () => 't' });
}

const forever = (): Promise<never> => new Promise<never>(() => {});

/** Task "t" dies in its first attempt, `aliveMs` after it began. */
async function orphaned(options: { hooks?: RecoveryHooks } = {}, aliveMs = 0): Promise<void> {
  const proc = world.proc(options);
  await startQuietly(define(proc, forever));
  await world.clock.advance(aliveMs);
  await die(world, proc);
}

describe('a Recovery that is watched', () => {
  it('tells of an attempt, its steps and its checkpoints', async () => {
    const seen: Seen = [];
    const proc = world.proc({ hooks: scribe(seen) });
    const task = define(proc, async (ctx) => {
      await ctx.step('load', () => 'é');
      await ctx.createCheckpoint({ name: 'half', progressPercent: 50, recoverableData: 'é' });
      return ctx.step('store', () => 'done');
    });
    expect(await world.until(task())).toBe('done');
    const about = { taskId: 't', name: 'n', attempt: 1 };
    const first = { ...about, recovered: false, cause: null, decision: null, kept: null };
    expect(seen).toEqual([
      ['attempt', first],
      ['step', { ...about, step: 'load' }],
      ['step ended', { ok: true }],
      // "é" and null.
      ['checkpoint', { ...about, checkpoint: 'half', sizeBytes: 8, latencyMs: expect.any(Number) }],
      ['step', { ...about, step: 'store' }],
      ['step ended', { ok: true }],
      ['attempt ended', { ok: true }],
    ]);
  });

  it('tells of a takeover before its attempt, within its pass, and of how long nobody was heard of', async () => {
    await orphaned({}, 10 * LEASE_MS);
    const seen: Seen = [];
    const proc = world.proc({ hooks: scribe(seen) });
    define(proc, async (ctx) => ctx.step('s', () => 1));
    await swept(world, proc);
    const about = { taskId: 't', name: 'n', attempt: 2, cause: 'lease_over', decision: 'restart' };
    const figures = { discovered: 1, recovered: 1, failed: 0, skipped: 0, deferred: 0, deadLettered: 0 };
    expect(seen).toMatchObject([
      ['recovery'],
      ['takeover', { ...about, silentMs: expect.any(Number) }],
      ['attempt', { ...about, recovered: true, kept: null }],
      ['step', { step: 's', attempt: 2 }],
      ['step ended', { ok: true }],
      ['attempt ended', { ok: true }],
      ['recovery ended', { ok: true, figures }],
    ]);
    const silentMs: unknown = Reflect.get(seen[1]?.[1] ?? {}, 'silentMs');
    // It renewed its lease each third of it; then that ran out, and a new process was started.
    expect(silentMs).toBeGreaterThan(LEASE_MS);
    expect(silentMs).toBeLessThan(2 * LEASE_MS);
  });

  it.each(['requeued', 'retry_due'] as const)('says that nobody died of a task that is %s', async (cause) => {
    const seen: Seen = [];
    const proc = world.proc({ hooks: scribe(seen) });
    const task = proc.recovery.withRecovery(
      (ctx) => {
        if (ctx.attempt === 1) throw new Error('no');
      },
      { name: 'n', taskId: () => 't', maxAttempts: cause === 'retry_due' ? 2 : 1 },
    );
    await world.until(task().catch(() => {}));
    if (cause === 'requeued') {
      await world.until(proc.recovery.tasks.requeue('t'));
      await swept(world, proc);
    }
    expect(seen).toContainEqual(['attempt ended', { ok: false, error: new Error('no') }]);
    expect(seen).toContainEqual(['takeover', expect.objectContaining({ attempt: 2, cause, silentMs: null })]);
  });

  it('counts what the codec made of a checkpoint', async () => {
    const sizes: number[] = [];
    const codec = aesGcmCodec({ keys: { a: new Uint8Array(32) }, currentKeyId: 'a' });
    const hooks: RecoveryHooks = { checkpoint: ({ sizeBytes }) => sizes.push(sizeBytes) };
    const task = define(world.proc({ codec, hooks }), (ctx) =>
      ctx.createCheckpoint({ name: 'c', progressPercent: 1, recoverableData: 'é' }),
    );
    await world.until(task());
    expect(sizes).toEqual([expect.any(Number)]);
    expect(sizes[0]).toBeGreaterThan(50);
  });

  it('does not tell of attempts whose function does not run', async () => {
    const dying = world.proc();
    await startQuietly(
      define(dying, async (ctx) => {
        await ctx.createCheckpoint({ name: 'nearly', progressPercent: 99 });
        return forever();
      }),
    );
    await die(world, dying);
    const seen: Seen = [];
    const proc = world.proc({ hooks: scribe(seen) });
    const asked = gate();
    proc.recovery.withRecovery(() => 'run', {
      name: 'n',
      taskId: () => 't',
      validate: async () => {
        await asked.passed;
        return { complete: 'done outside' };
      },
    });
    await world.until(proc.recovery.runStartupRecovery());
    asked.open();
    await world.clock.advance(1_000);
    expect(await proc.recovery.tasks.get('t')).toMatchObject({ status: 'completed' });
    const kinds = new Set(seen.map(([kind]) => kind));
    expect([...kinds]).toEqual(['recovery', 'takeover', 'recovery ended']);
  });

  it('is watched from `instrument` on, until that is taken back', async () => {
    const seen: string[] = [];
    const proc = world.proc();
    const task = proc.recovery.withRecovery((_ctx, id: string) => id, { name: 'n', taskId: (id) => id });
    await world.until(task('a'));
    const off = proc.recovery.instrument({ attempt: ({ taskId }) => seen.push(taskId) });
    await world.until(task('b'));
    off();
    await world.until(task('c'));
    expect(seen).toEqual(['b']);
  });

  it.each(['x', [{ attempt: 1 }], { attempts: () => {} }])('createRecovery refuses the hooks %j', (hooks) => {
    expect(() => Reflect.apply(world.proc, world, [{ hooks }])).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });
});

describe('the context that a hook enters', () => {
  it('is there in the function and its steps, beside currentTask, first and recovered', async () => {
    const local = new AsyncLocalStorage<string>();
    const hooks: RecoveryHooks = {
      attempt: ({ attempt }, run) => local.run(`attempt ${attempt}`, run),
      step: ({ step }, run) => local.run(`${local.getStore()}, ${step}`, run),
    };
    const seen: unknown[] = [];
    const note = (): void => void seen.push([local.getStore(), currentTask()?.taskId]);
    const first = world.proc({ hooks });
    await startQuietly(
      define(first, async (ctx) => {
        note();
        await ctx.step('s', async () => {
          await ctx.updateProgress(1);
          note();
        });
        note();
        return forever();
      }),
    );
    await die(world, first);
    const second = world.proc({ hooks });
    define(second, async (ctx) => {
      await ctx.updateProgress(1);
      note();
    });
    await swept(world, second);
    expect(seen).toEqual([
      ['attempt 1', 't'],
      ['attempt 1, s', 't'],
      ['attempt 1', 't'],
      ['attempt 2', 't'],
    ]);
    expect(local.getStore()).toBeUndefined();
  });
});

describe('a text that is kept', () => {
  const keeps = (text: unknown, seen: (string | null)[] = []): RecoveryHooks => ({
    attempt: ({ keep, kept }: AttemptInfo, run) => {
      seen.push(kept);
      Reflect.apply(keep, null, [text]);
      return run();
    },
  });

  it('is there for the next attempt once anything was written, renewals included', async () => {
    await orphaned({ hooks: keeps('from the first') }, LEASE_MS);
    const seen: (string | null)[] = [];
    const second = world.proc({ hooks: keeps('from the second', seen) });
    define(second, async (ctx) => {
      await ctx.createCheckpoint({ name: 'c', progressPercent: 1 });
      return forever();
    });
    await world.until(second.recovery.runStartupRecovery());
    await die(world, second);
    const third = world.proc({ hooks: keeps('', seen) });
    define(third, () => 1);
    await swept(world, third);
    // It has crashed twice: it waits a little.
    await world.clock.advance(SWEEP_MS);
    expect(seen).toEqual(['from the first', 'from the second']);
    expect(await fieldsOf(world)).toMatchObject({ status: 'completed', trace: '' });
  });

  it.each([['x'.repeat(1_025)], [1], [undefined], [{}]])(
    'that is too long, or none, is ignored',
    async (text) => {
      const task = define(world.proc({ hooks: keeps(text) }), (ctx) => ctx.step('s', () => 1));
      await world.until(task());
      expect(await fieldsOf(world)).not.toHaveProperty('trace');
    },
  );

  it('that is empty is none', async () => {
    await orphaned({ hooks: keeps('') }, LEASE_MS);
    const seen: (string | null)[] = [];
    const proc = world.proc({ hooks: keeps('', seen) });
    define(proc, () => 1);
    await swept(world, proc);
    expect(seen).toEqual([null]);
  });

  it('may have 1,024 characters', async () => {
    const task = define(world.proc({ hooks: keeps('x'.repeat(1_024)) }), (ctx) => ctx.step('s', () => 1));
    await world.until(task());
    expect(await fieldsOf(world)).toMatchObject({ trace: 'x'.repeat(1_024) });
  });

  it('after the end goes nowhere', async () => {
    let late: (text: string) => void = () => {};
    const hooks: RecoveryHooks = { attempt: ({ keep }) => void (late = keep) };
    await world.until(define(world.proc({ hooks }), () => 1)());
    late('x');
    await world.clock.advance(LEASE_MS);
    expect(await fieldsOf(world)).not.toHaveProperty('trace');
  });
});

describe('without hooks', () => {
  it('the very function is run', () => {
    const invoke = (): number => 1;
    const engine = engineWith({ hooks: new Hooks() });
    expect(Reflect.apply(watched, null, [engine, null, null, invoke])).toBe(invoke);
  });

  it('what was thrown is thrown as it is, as with them', async () => {
    const wrong = new Error('wrong');
    for (const hooks of [[], [{ attempt: () => undefined, step: () => Promise.reject(wrong) }]]) {
      const proc = world.proc({ hooks, namespace: `n${hooks.length}` });
      const task = define(proc, (ctx) => ctx.step('s', () => Promise.reject(wrong)));
      expect(await rejectionOf(world.until(task()))).toBe(wrong);
    }
  });
});
