import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FailedDocumentRecord } from '../../src/domain/failed-document.js';
import type { StoredError } from '../../src/domain/task.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { keys } from '../../src/state/keys.js';
import { trapUnhandledRejections, World } from './harness.js';
import type { ProcOptions } from './harness.js';
import { fieldsOf } from './lab.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

type Odd = Pick<Partial<TaskOptions<[string]>>, 'document' | 'query'>;

/** What is kept of task "t" once it has thrown; the end is written, whatever else. */
async function failedWith(
  thrown: unknown,
  odd: Odd = {},
  options: ProcOptions = {},
): Promise<FailedDocumentRecord | null> {
  const { recovery } = world.proc(options);
  const fn = (): never => {
    throw thrown;
  };
  const task = recovery.withRecovery<[string], never>(fn, {
    name: 'n',
    taskId: () => 't',
    document: (path) => path,
    ...odd,
  });
  await task('/a').then(
    () => expect.unreachable(),
    () => {},
  );
  expect(await fieldsOf(world)).toMatchObject({ status: 'failed' });
  expect(await recovery.failures.count()).toBe(1);
  return recovery.failures.get('t');
}

/** What nobody who keeps to the types can answer. */
function untyped(fn: () => unknown): () => string {
  return new Proxy(() => '', { apply: () => fn() });
}

const nonsense = (value: unknown): (() => string) => untyped(() => value);

const boom = (): never => {
  throw new Error('boom');
};

describe('document() and query()', () => {
  it.each<[string, Odd]>([
    ['a document() that throws', { document: boom }],
    ['a document() without an answer', { document: nonsense(undefined) }],
    ['a document() with a number', { document: nonsense(7) }],
    ['a document() with a promise', { document: nonsense(Promise.resolve('/a')) }],
    ['a document() with an object', { document: nonsense({ toString: boom }) }],
  ])('name the document by its id after %s', async (_what, odd) => {
    expect(await failedWith(new Error('x'), odd)).toMatchObject({ documentPath: 't', query: null });
  });

  it('may be async by mistake, and reject: that ends no process', async () => {
    expect(
      await failedWith(new Error('x'), { document: () => nonsense(Promise.reject(new Error('late')))() }),
    ).toMatchObject({ documentPath: 't' });
    world = new World();
    expect(
      await failedWith(new Error('x'), { query: () => nonsense(Promise.reject(new Error('late')))() }),
    ).toMatchObject({ query: null });
  });

  it.each<[string, Odd]>([
    ['throws', { query: boom }],
    ['answers with a number', { query: nonsense(7) }],
    ['answers with undefined', { query: nonsense(undefined) }],
  ])('a query() that %s is left out', async (_what, odd) => {
    expect(await failedWith(new Error('x'), odd)).toMatchObject({ query: null });
  });

  it('may answer with empty texts', async () => {
    expect(await failedWith(new Error('x'), { document: () => '', query: () => '' })).toMatchObject({
      documentPath: '',
      query: '',
    });
  });

  it('may answer with texts of any length, which are cut', async () => {
    const found = await failedWith(new Error('x'), {
      document: () => `/${'d'.repeat(5_000_000)}`,
      query: () => `SELECT ${'q'.repeat(5_000_000)}`,
    });
    expect([found?.documentPath.length, found?.query?.length]).toEqual([4_096, 4_096]);
  });

  it('may answer with halves of characters, at the cut too', async () => {
    const found = await failedWith(new Error('x'), {
      document: () => `\ud800${'d'.repeat(4_094)}\u{1f600}`,
      query: () => '\udc00 = 7',
    });
    expect([found?.documentPath.isWellFormed(), found?.query]).toEqual([true, '\ufffd = 7']);
  });
});

describe('categorize()', () => {
  const categorize = (answer: () => unknown): ProcOptions => ({ documents: { categorize: untyped(answer) } });
  const missing = (): Error => new Error('ENOENT: no such file');

  it('names the category, and is told what is stored: never what the censor took out', async () => {
    const seen: unknown[] = [];
    const options: ProcOptions = {
      redact: (error) => ({ ...error, message: error.message.replace('secret', '***') }),
      documents: { categorize: (error) => `mine: ${seen.push(error)}` },
    };
    expect(await failedWith(new TypeError('secret 7'), {}, options)).toMatchObject({ category: 'mine: 1' });
    expect(seen).toEqual([{ name: 'TypeError', message: '*** 7', code: null }]);
  });

  it('can not change what is stored of the error', async () => {
    const spoils = (error: StoredError): null => {
      Object.assign(error, { name: 'X', message: 'ETIMEDOUT' });
      return null;
    };
    expect(await failedWith(missing(), {}, { documents: { categorize: spoils } })).toMatchObject({
      errorName: 'Error',
      errorMessage: 'ENOENT: no such file',
      category: 'file_not_found',
    });
  });

  it.each<[string, () => unknown]>([
    ['throws', boom],
    ['answers with null', () => null],
    ['answers with nothing', () => undefined],
    ['answers with an empty text', () => ''],
    ['answers with a number', () => 7],
    ['answers with an object', () => ({ toString: boom })],
    ['answers with a promise', () => Promise.resolve('mine')],
    ['answers with a promise that rejects', () => Promise.reject(new Error('late'))],
    // eslint-disable-next-line unicorn/no-thenable
    ['answers with something that rejects like one', () => ({ then: boom })],
  ])('that %s leaves it to the built-in ones', async (_what, answer) => {
    expect(await failedWith(missing(), {}, categorize(answer))).toMatchObject({ category: 'file_not_found' });
  });

  it('may answer with any text, which is cut to a label', async () => {
    const answer = `\ud800${'c'.repeat(126)}\u{1f600} and more`;
    const found = await failedWith(
      missing(),
      {},
      categorize(() => answer),
    );
    expect(found?.category).toBe(`\ufffd${'c'.repeat(126)}\ufffd`);
  });
});

describe('the error', () => {
  it('is grouped as the censor leaves it', async () => {
    const redact = () => ({ name: 'E', message: 'gone', code: null });
    const found = await failedWith(new Error('ENOENT secret-1'), {}, { redact });
    expect(found).toMatchObject({ errorName: 'E', errorMessage: 'gone', category: 'other' });
    const first = found?.fingerprint;
    await world.end();
    world = new World();
    const other = await failedWith(new Error('ETIMEDOUT secret-other'), {}, { redact });
    // Not the same place in this file, but nothing of the message.
    expect([other?.category, other?.errorMessage, typeof first]).toEqual(['other', 'gone', 'string']);
    expect(JSON.stringify(await fieldsOf(world, keys.failure('t')))).not.toContain('secret');
  });

  it.each([['text'], [7], [null], [undefined], [Symbol('s')], [{ a: 1 }], [() => {}]])(
    'may be no error: %s',
    async (thrown) => {
      expect(await failedWith(thrown)).toMatchObject({ frame: null, documentPath: '/a' });
    },
  );

  it('may have no stack, or one that is no text or throws', async () => {
    const without = Object.assign(new Error('x'), { stack: undefined });
    const number = Object.assign(new Error('x'), { stack: 7 });
    const throwing = Object.defineProperty(new Error('x'), 'stack', { get: boom });
    const revocable = Proxy.revocable(new Error('x'), {});
    revocable.revoke();
    for (const thrown of [without, number, throwing, revocable.proxy]) {
      world = new World();
      expect(await failedWith(thrown)).toMatchObject({ frame: null });
    }
  });

  it('may be of any length', async () => {
    const found = await failedWith(new Error(`ENOENT ${'x '.repeat(2_500_000)}\ud800`));
    expect(found).toMatchObject({ category: 'file_not_found' });
    expect(found?.errorMessage.length).toBe(8 * 1024);
  });
});

describe('what can not be kept does not keep the end from being written', () => {
  it.each<[string, Partial<FailedDocumentRecord>, kept: string]>([
    ['document', { documentPath: 't', query: null, errorMessage: 'gone', frame: expect.any(String) }, 'gone'],
    ['failure', { documentPath: '/a', errorMessage: 'gone', frame: null }, '/a'],
  ])('with a codec that fails for the %s: the rest is there', async (part, found, kept) => {
    const codec = {
      encode: (text: string, place: string) => (place.endsWith(part) ? boom() : text),
      decode: (text: string) => text,
    };
    expect(await failedWith(new Error('gone'), {}, { codec })).toMatchObject(found);
    const record = JSON.stringify(await fieldsOf(world, keys.failure('t')));
    expect([record.includes(kept), record.includes(kept === 'gone' ? '/a' : 'gone')]).toEqual([true, false]);
  });

  it('with a low limit of inputs', async () => {
    const odd = { document: () => 'd'.repeat(4_096), query: () => 'q'.repeat(4_096) };
    await failedWith(new Error('x'), odd, { limits: { inputBytes: 1_024 } });
  });
});
