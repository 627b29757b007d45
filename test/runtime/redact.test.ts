import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StoredError } from '../../src/domain/task.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { isRecoveryError } from '../../src/errors.js';
import { keys } from '../../src/state/keys.js';
import { rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc, ProcOptions } from './harness.js';
import { die, fieldsOf, startQuietly, written } from './lab.js';

trapUnhandledRejections();

const CARD = '4111111111111111';
const redact = ({ name, message, code }: StoredError): StoredError => ({
  name,
  message: message.replaceAll(/\d{12,}/g, '***'),
  code,
});
const NOT_KEPT = { name: 'Error', message: expect.stringContaining('could not be redacted'), code: null };

describe('redact', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  const define = (
    { recovery }: Proc,
    fn: (ctx: RecoveryContext) => unknown,
    options: { maxAttempts?: number; version?: string; migrate?: () => never } = {},
  ) => recovery.withRecovery<[], unknown>(fn, { name: 'n', taskId: () => 't', ...options });

  it.each<[string, (ctx: RecoveryContext) => unknown, object]>([
    [
      'a failure',
      () => {
        throw Object.assign(new TypeError(`card ${CARD} was refused`), { code: 'E_CARD' });
      },
      { name: 'TypeError', message: 'card *** was refused', code: 'E_CARD' },
    ],
    [
      'something thrown that is no error',
      () => {
        // eslint-disable-next-line no-throw-literal, typescript/only-throw-error
        throw `card ${CARD}`;
      },
      { name: 'string', message: 'card ***' },
    ],
    [
      'failed items, in their own entries and in ITEMS_FAILED',
      (ctx) =>
        ctx.map('m', [1, 2], () => Promise.reject(new Error(`card ${CARD} was refused`)), { key: String }),
      { code: 'ITEMS_FAILED', message: '2 of 2 items of map "m" failed, first "1": card *** was refused' },
    ],
  ])('takes out of %s what must not be stored; the caller hears it all', async (_what, fn, stored) => {
    const proc = world.proc({ redact });
    const thrown = await rejectionOf(define(proc, fn)());
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed', error: stored });
    expect(written(proc)).not.toContain(CARD);
    expect(JSON.stringify(proc.heard)).not.toContain(CARD);
    if (!isRecoveryError(thrown)) expect(String(thrown)).toContain(CARD);
  });

  it('failed items of a map that succeeds, as it tells of them and as they are kept', async () => {
    const proc = world.proc({ redact });
    const task = define(proc, async (ctx) => {
      const work = (item: number): void => {
        if (item === 1) throw new Error(`card ${CARD}`);
      };
      return (await ctx.map('m', [1, 2], work, { key: String, minSuccessRatio: 0.5 })).failed;
    });
    await expect(task()).resolves.toEqual([
      { key: '1', error: { name: 'Error', message: 'card ***', code: null } },
    ]);
    expect((await fieldsOf(world, keys.ledger('t', 'm', 0)))?.['=1']).toContain('card ***');
    expect(written(proc)).not.toContain(CARD);
  });

  it('the error of a try that is followed by another', async () => {
    const proc = world.proc({ redact });
    await startQuietly(
      define(
        proc,
        () => {
          throw new Error(`card ${CARD}`);
        },
        { maxAttempts: 3 },
      ),
    );
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      error: { message: 'card ***' },
    });
    expect(written(proc)).not.toContain(CARD);
  });

  it('what a migration threw', async () => {
    const old = world.proc();
    await startQuietly(
      define(old, async (ctx) => {
        await ctx.createCheckpoint({ name: 'c', progressPercent: 50 });
        return untilAborted(ctx);
      }),
    );
    await die(world, old);
    const next = world.proc({ redact });
    const migrate = (): never => {
      throw new Error(`card ${CARD}`);
    };
    const call = define(next, () => 1, { version: '2', migrate })();
    expect(await rejectionOf(call)).toMatchObject({ code: 'MIGRATION_FAILED' });
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
      error: { code: 'MIGRATION_FAILED', message: expect.stringContaining('***') },
    });
    expect(written(next)).not.toContain(CARD);
  });

  it.each<[string, unknown]>([
    [
      'throws',
      (error: StoredError) => {
        throw new Error(error.message);
      },
    ],
    ['answers nothing', () => undefined],
    ['answers null', () => null],
    ['answers something else', () => ({ name: 5, message: CARD })],
    ['leaves the message out', ({ name }: StoredError) => ({ name })],
  ])('one that %s: only that there was an error is kept', async (_what, censor) => {
    const options: ProcOptions = JSON.parse('{}');
    Reflect.set(options, 'redact', censor);
    const proc = world.proc(options);
    const task = define(proc, (ctx) =>
      ctx.map('m', [1], () => Promise.reject(new Error(`card ${CARD}`)), { key: String }),
    );
    await rejectionOf(task());
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed', error: NOT_KEPT });
    expect((await fieldsOf(world, keys.ledger('t', 'm', 0)))?.['=1']).toContain('could not be redacted');
    expect(written(proc)).not.toContain(CARD);
  });

  it('is given the whole message, before it is cut to size', async () => {
    const asked: StoredError[] = [];
    const long = `${'x'.repeat(200)} ${CARD}`;
    const proc = world.proc({
      limits: { errorBytes: 50 },
      redact: (error) => {
        asked.push(error);
        return { ...error, message: `${error.message.length} ${error.message}` };
      },
    });
    await rejectionOf(define(proc, () => Promise.reject(new RangeError(long)))());
    expect(asked).toEqual([{ name: 'RangeError', message: long, code: null }]);
    const { error } = (await proc.recovery.tasks.get('t')) ?? {};
    expect(error?.message).toMatch(/^217 x+$/);
    expect(error?.message).toHaveLength(50);
  });
});
