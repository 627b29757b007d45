import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aesGcmCodec, chainCodecs, gzipCodec } from '../../src/domain/codec.js';
import type { PayloadCodec } from '../../src/domain/codec.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { keys } from '../../src/state/keys.js';
import { gate, rejectionOf, SWEEP_MS, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc } from './harness.js';
import { die, fieldsOf, startQuietly, swept, written } from './lab.js';

trapUnhandledRejections();

const CANARY = 'canary-7f3a';
const [OLD_KEY, NEW_KEY] = [randomBytes(32), randomBytes(32)];
const aes = (currentKeyId: 'old' | 'new', known: readonly ('old' | 'new')[], acceptPlainText = false) =>
  aesGcmCodec({
    keys: Object.fromEntries(known.map((id) => [id, id === 'old' ? OLD_KEY : NEW_KEY])),
    currentKeyId,
    acceptPlainText,
  });

/** Each character's code, after the place that it was made for, which it insists on. */
const places: string[] = [];
const own: PayloadCodec = {
  encode: (text, place) => {
    places.push(place);
    return JSON.stringify([place, [...Buffer.from(text)]]);
  },
  decode: (stored, place) => {
    const [at, bytes]: [string, number[]] = JSON.parse(stored);
    if (at !== place) throw new Error(`made for ${at}, not ${place}`);
    return Buffer.from(bytes).toString();
  },
};

type Input = { readonly secret: string };

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

/** Uses everything that is stored; crashes after that on its first attempt. */
function define({ recovery }: Pick<Proc, 'recovery'>, pad = '') {
  const secret = (what: string): string => `${CANARY} ${what} ${pad}`;
  const fn = async (ctx: RecoveryContext, input: Input): Promise<unknown> => {
    const step = await ctx.step('s', () => ({ of: secret(`step ${ctx.attempt}`) }));
    const items = await ctx.map(
      'm',
      ['a', 'b'],
      (item) => {
        if (item === 'b' && ctx.attempt === 1) throw new Error(secret('item error'));
        return secret(`item ${item} ${ctx.attempt}`);
      },
      { key: (item) => item, minSuccessRatio: 0 },
    );
    if (ctx.attempt > 1) {
      const { resumedFrom, userContext } = ctx;
      return { input, userContext, step, items: items.results, ...resumedFrom, result: secret('result') };
    }
    await ctx.createCheckpoint({
      name: 'c',
      progressPercent: 50,
      recoverableData: secret('data'),
      databaseState: { in: secret('state') },
    });
    await ctx.updateProgress(60);
    return untilAborted(ctx);
  };
  return recovery.withRecovery<[Input], unknown>(fn, {
    name: 'n',
    taskId: () => 't',
    userContext: () => ({ user: secret('user') }),
    checkpointFrequency: 10,
  });
}

const outcome = (pad: string): object => ({
  input: { secret: `${CANARY} ${pad}` },
  userContext: { user: `${CANARY} user ${pad}` },
  step: { of: `${CANARY} step 1 ${pad}` },
  items: [`${CANARY} item a 1 ${pad}`, `${CANARY} item b 2 ${pad}`],
  recoverableData: `${CANARY} data ${pad}`,
  databaseState: { in: `${CANARY} state ${pad}` },
  result: `${CANARY} result ${pad}`,
});

const input = (pad = ''): Input => ({ secret: `${CANARY} ${pad}` });

describe('a codec', () => {
  it.each<[string, PayloadCodec, number]>([
    ['an own one', own, 0],
    ['an own one', own, 1_500],
    ['aesGcmCodec', aes('old', ['old']), 0],
    ['aesGcmCodec', aes('old', ['old']), 1_500],
    ['compression and encryption', chainCodecs(gzipCodec({ aboveBytes: 10 }), aes('old', ['old'])), 1_500],
  ])(
    '%s: no payload is stored in the clear, and all come back after a crash (%#)',
    async (_what, codec, size) => {
      const pad = 'p'.repeat(size);
      const old = world.proc({ codec });
      const task = define(old, pad);
      await startQuietly(task, input(pad));
      await die(world, old);
      const next = world.proc({ codec });
      const again = task.with(next.recovery);
      await expect(again(input(pad))).resolves.toMatchObject(outcome(pad));
      // And once more, from what was kept.
      await expect(task.with(world.proc({ codec }).recovery)(input(pad))).resolves.toMatchObject(
        outcome(pad),
      );
      await expect(next.recovery.checkpoints.list('t')).resolves.toMatchObject([
        { name: 'c', recoverableData: `${CANARY} data ${pad}` },
      ]);
      expect(written(old, next)).not.toContain(CANARY);
      expect(JSON.stringify([old.heard, next.heard])).not.toContain(CANARY);
      const clear = written(old, next);
      for (const name of ['"n"', '"t"', 's:s', 'm:m', 'r:c']) expect(clear).toContain(name);
    },
  );

  it('is told the place of each payload: namespace, task and what it is, none like another', async () => {
    places.length = 0;
    const old = world.proc({ codec: own, namespace: 'rekindle' });
    const task = define(old);
    await startQuietly(task, input());
    await die(world, old);
    await task.with(world.proc({ codec: own }).recovery)(input());
    const parts = places.map((place) => place.replace('8:rekindle 1:t ', ''));
    expect(new Set(parts)).toEqual(
      new Set([
        '5:input',
        '12:user context',
        '6:step s',
        '10:item 1:m a',
        '10:item 1:m b',
        '12:checkpoint 1',
        '6:result',
      ]),
    );
  });

  it('refuses a payload that was moved to another task', async () => {
    const codec = aes('old', ['old']);
    const proc = world.proc({ codec });
    const task = proc.recovery.withRecovery<[string], string>((_ctx, id) => `${CANARY} ${id}`, {
      name: 'n',
      taskId: (id) => id,
    });
    await task('t');
    await task('u');
    const { token = '' } = (await fieldsOf(world)) ?? {};
    const stolen = (await fieldsOf(world, keys.head('u')))?.['result'] ?? '';
    await world.memory.commit('rekindle:0', [
      {
        guard: { key: keys.head('t'), expect: token, next: `${token}1` },
        set: [{ key: keys.head('t'), fields: { result: stolen } }],
      },
    ]);
    expect(await rejectionOf(task('t'))).toMatchObject({ code: 'CODEC_FAILED' });
  });

  it('rotates: old records are read with the old key, new ones are written with the new one', async () => {
    const old = world.proc({ codec: aes('old', ['old']) });
    const task = define(old);
    await startQuietly(task, input());
    await die(world, old);
    const next = world.proc({ codec: aes('new', ['old', 'new']) });
    await expect(task.with(next.recovery)(input())).resolves.toMatchObject(outcome(''));
    expect((await fieldsOf(world))?.['input']).toMatch(/^~e1:old:/);
    const { result = '' } = (await fieldsOf(world)) ?? {};
    expect(result).toMatch(/^~e1:new:/);
    const before = task.with(world.proc({ codec: aes('old', ['old']) }).recovery);
    expect(await rejectionOf(before(input()))).toMatchObject({
      code: 'CODEC_FAILED',
      details: { keyId: 'new' },
    });
  });

  it.each<[string, PayloadCodec | null]>([
    ['without a codec', null],
    ['without the key', aes('new', ['new'])],
    [
      'whose codec throws',
      {
        encode: () => '',
        decode: () => {
          throw new TypeError(CANARY);
        },
      },
    ],
  ])('a worker %s leaves the task alone, uncharged; a proper one takes it', async (_what, codec) => {
    const old = world.proc({ codec: aes('old', ['old']) });
    const task = define(old);
    await startQuietly(task, input());
    await die(world, old);
    const unfit = world.proc(codec === null ? {} : { codec });
    const call = task.with(unfit.recovery);
    expect(await rejectionOf(call(input()))).toMatchObject({
      code: 'CODEC_FAILED',
      message: expect.not.stringContaining(CANARY),
    });
    await expect(swept(world, unfit)).resolves.toMatchObject({
      recovered: 0,
      failed: 0,
      deadLettered: 0,
      tasks: [{ taskId: 't', outcome: 'skipped', error: expect.stringMatching(/codec|key/) }],
    });
    await world.clock.advance(5 * SWEEP_MS);
    await expect(unfit.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      attempt: 1,
      crashes: [{ attempt: 1 }],
    });
    const proper = world.proc({ codec: aes('old', ['old']) });
    const again = task.with(proper.recovery);
    await expect(swept(world, proper)).resolves.toMatchObject({ recovered: 1, failed: 0 });
    await expect(again(input())).resolves.toMatchObject(outcome(''));
  });

  it('switched on over plain records: refused, or taken with acceptPlainText', async () => {
    const old = world.proc();
    const task = define(old);
    await startQuietly(task, input());
    expect(written(old)).toContain(CANARY);
    await die(world, old);
    const strict = task.with(world.proc({ codec: aes('old', ['old']) }).recovery);
    expect(await rejectionOf(strict(input()))).toMatchObject({ code: 'CODEC_FAILED' });
    const next = world.proc({ codec: aes('old', ['old'], true) });
    await expect(task.with(next.recovery)(input())).resolves.toMatchObject(outcome(''));
    expect(written(next)).not.toContain(CANARY);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed', attempt: 2 });
  });

  it.each<[string, (what: string) => string]>([
    [
      'throws',
      (what) => {
        throw new TypeError(`${CANARY} in ${what}`);
      },
    ],
    ['gives no text', () => JSON.parse('5')],
    ['gives half a character', () => '\uD800'],
  ])('that %s when it encodes: a typed error each, no payload in it', async (_what, fail) => {
    let broken = '';
    const codec: PayloadCodec = {
      encode: (text, place) => (place.endsWith(broken) && broken !== '' ? fail(place) : text),
      decode: (stored) => stored,
    };
    const proc = world.proc({ codec });
    const define2 = (name: string, fn: (ctx: RecoveryContext) => unknown) =>
      proc.recovery.withRecovery<[], unknown>(fn, { name, taskId: () => name });
    broken = 'input';
    const refused = define2('input', () => 1);
    expect(await rejectionOf(refused())).toMatchObject({ code: 'CODEC_FAILED' });
    await expect(proc.recovery.tasks.get('input')).resolves.toBeNull();
    broken = 'result';
    const done = define2('result', () => 1);
    for (let call = 0; call < 2; call += 1) {
      const error = await rejectionOf(done());
      expect(error).toMatchObject({ code: 'RESULT_NOT_STORABLE' });
      expect(String(error)).not.toContain(CANARY);
    }
    await expect(proc.recovery.tasks.get('result')).resolves.toMatchObject({
      status: 'completed',
      attempt: 1,
    });
    broken = 'checkpoint 1';
    const go = gate();
    const point = define2('point', async (ctx) => {
      const thrown = await rejectionOf(ctx.createCheckpoint({ name: 'a', progressPercent: 1 }));
      broken = '';
      await ctx.createCheckpoint({ name: 'b', progressPercent: 2, recoverableData: 2 });
      go.open();
      throw thrown;
    });
    expect(await rejectionOf(point())).toMatchObject({ code: 'CODEC_FAILED' });
    await expect(proc.recovery.checkpoints.list('point')).resolves.toMatchObject([{ name: 'b' }]);
    broken = 'step s';
    let ran = 0;
    const step = define2('step', (ctx) => ctx.step('s', () => (ran += 1)));
    expect(await rejectionOf(step())).toMatchObject({ code: 'STEP_RESULT_NOT_STORABLE' });
    await expect(step()).resolves.toBeUndefined();
    expect([ran, written(proc).includes(CANARY)]).toEqual([1, false]);
  });
});
