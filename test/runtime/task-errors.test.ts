import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { storedErrorOf, textOf } from '../../src/runtime/task-errors.js';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

describe('whatever is thrown', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  it.each<[string, unknown]>([
    [
      'a lone surrogate in name, code and message',
      Object.assign(new Error('\ud800'), { name: '\ud800', code: '\udc00' }),
    ],
    ['no text for a message', Object.assign(new Error('x'), { message: { odd: true } })],
    ['no text for a name', Object.assign(new Error('x'), { name: 5 })],
    ['an undefined code', Object.assign(new Error('x'), { code: undefined })],
    ['a message over the limit', new Error('é'.repeat(10_000))],
    ['no error', { toString: null }],
    ['nothing', undefined],
  ])('a function that throws %s ends as failed all the same', async (_what, thrown) => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery(
      () => {
        throw thrown;
      },
      { name: 'n', taskId: () => 't' },
    );
    expect(await rejectionOf(task())).toBe(thrown);
    const stored = await recovery.tasks.get('t');
    expect(stored?.status).toBe('failed');
    expect(Buffer.byteLength(stored?.error?.message ?? '')).toBeLessThanOrEqual(8 * 1024);
  });
});

describe('storedErrorOf', () => {
  it('keeps name, message and code, never a stack', () => {
    const error = Object.assign(new RangeError('far'), { code: 'E_FAR', secret: 1 });
    expect(storedErrorOf(error, 100)).toEqual({ name: 'RangeError', message: 'far', code: 'E_FAR' });
    expect(storedErrorOf('text', 100)).toEqual({ name: 'string', message: 'text', code: null });
  });

  it('cuts a message between characters', () => {
    expect(storedErrorOf(new Error('aé€😀'), 9).message).toBe('aé€');
    expect(storedErrorOf(new Error('aé€😀'), 10).message).toBe('aé€😀');
    expect(storedErrorOf(new Error('é'), 1).message).toBe('');
  });

  it('survives getters that throw', () => {
    const hostile = new Error('x');
    for (const name of ['name', 'message', 'code']) {
      Object.defineProperty(hostile, name, {
        get: () => {
          throw new Error('no');
        },
      });
    }
    expect(storedErrorOf(hostile, 100)).toMatchObject({ name: 'Error', code: null });
    expect(textOf(hostile)).toContain('cannot be turned into text');
  });
});
