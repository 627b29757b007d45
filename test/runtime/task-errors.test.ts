import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StoredError } from '../../src/domain/task.js';
import { RecoveryError } from '../../src/errors.js';
import {
  cancelledError,
  gaveUpError,
  isFinal,
  isNotItsFault,
  storedErrorOf,
  textOf,
} from '../../src/runtime/task-errors.js';
import type { ErrorPolicy } from '../../src/runtime/task-errors.js';
import { taskAt } from '../recovery/snapshot.js';
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

/** How errors are kept in these tests. */
function keep(errorBytes: number, redact: ErrorPolicy['redact'] = null): ErrorPolicy {
  return { limits: { errorBytes }, redact };
}

describe('storedErrorOf', () => {
  it('keeps name, message and code, never a stack', () => {
    const error = Object.assign(new RangeError('far'), { code: 'E_FAR', secret: 1 });
    expect(storedErrorOf(error, keep(100))).toEqual({ name: 'RangeError', message: 'far', code: 'E_FAR' });
    expect(storedErrorOf('text', keep(100))).toEqual({ name: 'string', message: 'text', code: null });
  });

  it('cuts a message between characters', () => {
    expect(storedErrorOf(new Error('aé€😀'), keep(9)).message).toBe('aé€');
    expect(storedErrorOf(new Error('aé€😀'), keep(10)).message).toBe('aé€😀');
    expect(storedErrorOf(new Error('é'), keep(1)).message).toBe('');
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
    expect(storedErrorOf(hostile, keep(100))).toMatchObject({ name: 'Error', code: null });
    expect(textOf(hostile)).toContain('cannot be turned into text');
  });
});

describe('a censor', () => {
  const SECRET = 'card 4000123412341234';
  const failure = (): Error => Object.assign(new RangeError(SECRET), { code: 'E_CARD' });
  const NOTHING = {
    name: 'Error',
    message: 'The error could not be redacted, so it was not kept.',
    code: null,
  };

  /** A censor of someone without types. */
  function odd(answer: unknown): ErrorPolicy['redact'] {
    const redact: { run: (error: StoredError) => StoredError } = { run: (error) => error };
    Reflect.set(redact, 'run', () => answer);
    return redact.run;
  }

  it('sees the whole of it, and what it leaves is kept', () => {
    const seen: StoredError[] = [];
    const stored = storedErrorOf(
      failure(),
      keep(9, (error) => {
        seen.push(error);
        return { ...error, message: error.message.replace(/\d+/, '***') };
      }),
    );
    expect(seen).toEqual([{ name: 'RangeError', message: SECRET, code: 'E_CARD' }]);
    expect(stored).toEqual({ name: 'RangeError', message: 'card ***', code: 'E_CARD' });
  });

  it('is asked before the message is cut: half a secret would pass it, and what it adds is cut, too', () => {
    const redact = ({ name, message, code }: StoredError): StoredError => ({
      name,
      message: message.replace(/\d{16}/, '***'),
      code,
    });
    expect(storedErrorOf(failure(), keep(12, redact)).message).toBe('card ***');
    const longer = (error: StoredError): StoredError => ({ ...error, message: 'aé€😀'.repeat(9) });
    expect(storedErrorOf(failure(), keep(9, longer)).message).toBe('aé€');
  });

  it('may change name and code, within bounds; what it leaves is well-formed', () => {
    const change = { name: `N\ud800${'x'.repeat(999)}`, message: 'm\udc00', code: `C${'y'.repeat(999)}` };
    const { name, message, code } = storedErrorOf(failure(), keep(100, odd(change)));
    expect([name.length, code?.length]).toEqual([256, 256]);
    expect([name, message, code ?? ''].every((text) => text.isWellFormed())).toBe(true);
    expect(message.startsWith('m')).toBe(true);
  });

  it.each([null, undefined, 5, {}])('a code that it makes %j is none', (code) => {
    expect(storedErrorOf(failure(), keep(100, odd({ name: 'N', message: 'm', code })))).toEqual({
      name: 'N',
      message: 'm',
      code: null,
    });
  });

  it.each<[string, ErrorPolicy['redact']]>([
    [
      'throws',
      () => {
        throw new Error(SECRET);
      },
    ],
    [
      'throws nothing',
      () => {
        throw undefined;
      },
    ],
    ['answers nothing', odd(undefined)],
    ['answers null', odd(null)],
    ['answers a text', odd(SECRET)],
    ['leaves out the message', odd({ name: 'N', code: null })],
    ['leaves out the name', odd({ message: SECRET })],
    ['gives a message that is no text', odd({ name: 'N', message: { text: SECRET } })],
    ['answers a promise', odd(Promise.resolve({ name: 'N', message: SECRET, code: null }))],
  ])('that %s: only that there was an error is kept', (_what, redact) => {
    expect(storedErrorOf(failure(), keep(1_000, redact))).toEqual(NOTHING);
  });

  it('is asked about anything that is thrown', () => {
    const seen: StoredError[] = [];
    storedErrorOf(
      { toString: null },
      keep(100, (error) => {
        seen.push(error);
        return error;
      }),
    );
    expect(seen).toMatchObject([{ name: 'object', code: null }]);
  });
});

describe('what an error means for its task', () => {
  const coded = (code: RecoveryError['code'], details = {}): RecoveryError =>
    new RecoveryError(code, 'x', { details });

  it.each<[RecoveryError['code'], boolean, boolean]>([
    ['UNRECOVERABLE', true, false],
    ['INPUT_INVALID', true, false],
    ['MIGRATION_FAILED', false, false],
    ['ITEMS_FAILED', false, false],
    ['SHUT_DOWN', false, true],
    ['STORAGE_UNAVAILABLE', false, true],
    ['STORAGE_FULL', false, true],
    ['STORAGE_READONLY', false, true],
    ['STORAGE_REFUSED', false, false],
  ])('%s: no other try helps: %s; not its fault: %s', (code, final, innocent) => {
    expect([isFinal(coded(code)), isNotItsFault(coded(code), coded('SHUT_DOWN'))]).toEqual([final, innocent]);
  });

  it('time over for good is final, a silence is not', () => {
    expect(isFinal(coded('TASK_TIMED_OUT', { limit: 'maxDurationMs' }))).toBe(true);
    expect(isFinal(coded('TASK_TIMED_OUT', { limit: 'maxSilenceMs' }))).toBe(false);
  });

  it.each([new Error('x'), 'x', null, undefined])('%s is neither', (thrown) => {
    expect([isFinal(thrown), isNotItsFault(thrown, null)]).toEqual([false, false]);
  });

  it('a cancellation has its reason, if there is one', () => {
    expect(cancelledError('t', 'withdrawn')).toMatchObject({
      code: 'TASK_CANCELLED',
      message: 'Task "t" was cancelled: withdrawn.',
      details: { taskId: 't' },
    });
    expect(cancelledError('t', '').message).toBe('Task "t" was cancelled.');
  });

  it.each([
    ['TASK_DEAD_LETTER', 'was given up'],
    ['TASK_CANCELLED', 'was cancelled'],
  ] as const)('%s tells why: as it is told, as it is stored, or not at all', (code, what) => {
    const advice = 'recovery.tasks.requeue makes it go on.';
    const task = { ...taskAt(0), crashedAtMs: [5] };
    const stored = { ...task, error: { name: 'E', message: 'stored', code: null } };
    expect(gaveUpError(code, stored, 'told').message).toBe(`Task "t" ${what}: told ${advice}`);
    expect(gaveUpError(code, stored).message).toBe(`Task "t" ${what}: stored ${advice}`);
    const whole = { ...stored, error: { ...stored.error, message: 'Task "t" was cancelled: x.' } };
    expect(gaveUpError(code, whole).message).toBe(`Task "t" was cancelled: x. ${advice}`);
    expect(gaveUpError(code, task)).toMatchObject({
      code,
      message: `Task "t" ${what}: no reason was kept. ${advice}`,
      details: { taskId: 't', crashedAtMs: [5] },
    });
  });
});
