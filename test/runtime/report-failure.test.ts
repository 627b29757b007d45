import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FailureReport } from '../../src/state/failure-filter.js';
import { keys } from '../../src/state/keys.js';
import { namesOf, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import type { Proc, ProcOptions } from './harness.js';
import { fieldsOf, written } from './lab.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

const PATH = '/in/7.pdf';
const gone = (): Error => Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' });
const boom = (): never => {
  throw gone();
};

/** Reports as plain JavaScript may. */
function loose({ recovery }: Proc, report: unknown): Promise<string> {
  return Reflect.apply(recovery.failures.record, undefined, [report]);
}

describe('a report with something wrong in it is refused before anything is written', () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const sound = { documentPath: PATH, error: gone() };

  it.each<[code: string, what: string, report: unknown, options?: ProcOptions]>([
    ['INVALID_OPTION', 'no report', undefined],
    ['INVALID_OPTION', 'null', null],
    ['INVALID_OPTION', 'a list', []],
    ['INVALID_OPTION', 'no path', { error: gone() }],
    ['INVALID_OPTION', 'an empty path', { ...sound, documentPath: '' }],
    ['INVALID_OPTION', 'a path that is no text', { ...sound, documentPath: 7 }],
    ['INVALID_OPTION', 'a path that is too long', { ...sound, documentPath: 'p'.repeat(4_097) }],
    ['INVALID_OPTION', 'a path with half a character', { ...sound, documentPath: '\ud800' }],
    ['INVALID_OPTION', 'no error', { documentPath: PATH }],
    ['INVALID_OPTION', 'an id that is none', { ...sound, taskId: 'a{b' }],
    ['INVALID_OPTION', 'an id that is no text', { ...sound, taskId: 7 }],
    ['INVALID_OPTION', 'an empty name', { ...sound, name: '' }],
    ['INVALID_OPTION', 'arguments that are no list', { ...sound, args: PATH }],
    ['INVALID_OPTION', 'a query that is no text', { ...sound, query: 7 }],
    ['INVALID_OPTION', 'a worker that is no id', { ...sound, workerId: '' }],
    ['INVALID_OPTION', 'a version that is no id', { ...sound, version: 2 }],
    ['INVALID_OPTION', 'an option that there is not', { ...sound, path: PATH }],
    ['NOT_JSON', 'a function as an argument', { ...sound, args: [boom] }],
    ['NOT_JSON', 'undefined as an argument', { ...sound, args: [PATH, undefined] }],
    ['NOT_JSON', 'a date in the metadata', { ...sound, metadata: { at: new Date(0) } }],
    ['NOT_JSON', 'a BigInt as metadata', { ...sound, metadata: 7n }],
    ['NOT_JSON', 'metadata in a circle', { ...sound, metadata: cycle }],
    ['NOT_JSON', 'a function as metadata', { ...sound, metadata: boom }],
    ['PAYLOAD_TOO_LARGE', 'long metadata', { ...sound, metadata: 'm'.repeat(2_000_000) }],
    [
      'PAYLOAD_TOO_LARGE',
      'long arguments',
      { ...sound, args: ['1'.repeat(90)] },
      { limits: { inputBytes: 64 } },
    ],
    ['CODEC_FAILED', 'a codec that fails', sound, { codec: { encode: boom, decode: (text) => text } }],
  ])('%s: %s', async (code, _what, report, options = {}) => {
    const proc = world.proc(options);
    expect(await rejectionOf(loose(proc, report))).toMatchObject({ name: 'RecoveryError', code });
    expect(proc.line.commits).toEqual([]);
  });

  it('all that is wrong with the options is said at once', async () => {
    const error = await rejectionOf(loose(world.proc(), { documentPath: '', query: 7 }));
    expect(String(error)).toMatch(/"documentPath".*"query".*"error" is required/);
  });

  it('SHUT_DOWN: after the shutdown', async () => {
    const proc = world.proc();
    await world.until(proc.recovery.shutdown());
    expect(await rejectionOf(loose(proc, sound))).toMatchObject({ code: 'SHUT_DOWN' });
    expect(proc.line.commits).toEqual([]);
  });

  it.each([null, 'text', 7, { a: 1 }, Symbol('s')])(
    'but anything may have been thrown: %s',
    async (thrown) => {
      const { failures } = world.proc().recovery;
      await failures.record({ documentPath: PATH, error: thrown });
      expect(await failures.get(PATH)).toMatchObject({ documentPath: PATH, frame: null });
    },
  );
});

describe('a document that nobody has heard of', () => {
  it('is a failed task from then on', async () => {
    const proc = world.proc({ slot: 'w-1' });
    const { failures, tasks } = proc.recovery;
    const report: FailureReport = {
      documentPath: PATH,
      error: gone(),
      query: 'SELECT 7',
      metadata: { page: 3 },
    };
    await expect(failures.record(report)).resolves.toBe(PATH);
    const now = world.clock.wallMs();
    const frame: unknown = expect.any(String);
    expect(await failures.get(PATH)).toEqual({
      taskId: PATH,
      name: 'document',
      documentPath: PATH,
      query: 'SELECT 7',
      status: 'failed',
      errorName: 'Error',
      errorMessage: 'ENOENT: no such file',
      errorCode: 'ENOENT',
      category: 'file_not_found',
      fingerprint: frame,
      frame,
      failedAtMs: now,
      lastAttemptAtMs: now,
      ageMs: 0,
      retryCount: 0,
      recoveryAttempts: 0,
      workerId: 'w-1',
      version: '1',
      metadata: { page: 3 },
    });
    expect(await tasks.get(PATH)).toMatchObject({ status: 'failed', attempt: 0, endedAtMs: now });
    expect((await tasks.list({ name: 'document', status: 'failed' })).tasks).toHaveLength(1);
    expect(namesOf(proc.heard)).toEqual(['task_failed']);
    expect(await failures.count({ category: 'file_not_found' })).toBe(1);
  });

  it('says what else the report says of it', async () => {
    const { failures } = world.proc().recovery;
    const told = { taskId: 't', name: 'n', workerId: 'far', version: '7' };
    await failures.record({ documentPath: PATH, error: gone(), args: [PATH, 2], ...told });
    expect(await failures.get('t')).toMatchObject({
      name: 'n',
      workerId: 'far',
      version: '7',
      metadata: null,
    });
    expect((await fieldsOf(world))?.['input']).toBe(JSON.stringify([PATH, 2]));
  });

  it.each([
    ['that is too long for an id', `/in/${'d'.repeat(300)}`],
    ['with braces', '/in/{7}.pdf'],
    ['with a control character', '/in/\n'],
    ['of the longest kind', 'p'.repeat(4_096)],
  ])('gets a digest for its id by a path %s, always the same', async (_what, documentPath) => {
    const { failures } = world.proc().recovery;
    const id = await failures.record({ documentPath, error: gone() });
    expect(id).toMatch(/^document:[0-9a-f]{64}$/);
    await expect(failures.record({ documentPath, error: gone() })).resolves.toBe(id);
    await expect(failures.record({ documentPath: `${documentPath.slice(1)}!`, error: 1 })).resolves.not.toBe(
      id,
    );
    expect(await failures.get(id)).toMatchObject({ documentPath });
    expect(await failures.count()).toBe(2);
  });

  it('keeps long arguments in a record of their own', async () => {
    const { recovery } = world.proc();
    const args = ['x'.repeat(5_000)];
    await recovery.failures.record({ documentPath: PATH, error: gone(), taskId: 't', name: 'n', args });
    const seen: string[] = [];
    const task = recovery.withRecovery((_ctx, text: string) => void seen.push(text), {
      name: 'n',
      taskId: () => 't',
    });
    await task('x'.repeat(5_000));
    expect(seen).toEqual(args);
  });

  it('is sealed by a codec: path, arguments and metadata', async () => {
    const codec = {
      encode: (text: string) => Buffer.from(text).toString('hex'),
      decode: (text: string) => Buffer.from(text, 'hex').toString(),
    };
    const proc = world.proc({ codec });
    const secret = { metadata: 'secret', args: ['secret'] };
    await proc.recovery.failures.record({ documentPath: 'secret', taskId: 't', error: 7, ...secret });
    expect(written(proc)).not.toContain('secret');
    expect(await proc.recovery.failures.get('t')).toMatchObject({
      documentPath: 'secret',
      metadata: 'secret',
    });
  });

  it('may be recorded by two at once: one failure, and both have told of it', async () => {
    const [one, other] = [world.proc(), world.proc()];
    const wants = (proc: Proc) =>
      proc.line.hold(({ kind, keys: given }) => kind === 'commit' && given.includes(keys.head(PATH)));
    const [first, second] = [wants(one), wants(other)];
    const both = [
      one.recovery.failures.record({ documentPath: PATH, error: gone() }),
      other.recovery.failures.record({ documentPath: PATH, error: new Error('other') }),
    ];
    await Promise.all([first.reached, second.reached]);
    first.release();
    await both[0];
    second.release();
    await expect(Promise.all(both)).resolves.toEqual([PATH, PATH]);
    const { failures } = one.recovery;
    expect(await failures.get(PATH)).toMatchObject({ errorMessage: 'other', retryCount: 0 });
    expect([await failures.count(), (await failures.groups()).length]).toEqual([1, 1]);
    expect(await fieldsOf(world, keys.head(PATH))).toMatchObject({ eventSeq: '2' });
  });
});
