import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { categoryOf } from '../../src/domain/error-category.js';
import type { ErrorCategory } from '../../src/domain/error-category.js';
import { failureOf, factsOf } from './error-corpus-entry.js';
import { openCorpus } from './error-corpus.js';

const of = (message: string, code: string | null = null, name = 'Error'): ErrorCategory =>
  categoryOf({ name, message, code });

let corpus: Awaited<ReturnType<typeof openCorpus>>;
beforeAll(async () => {
  corpus = await openCorpus();
});
afterAll(() => corpus.close());

describe('categories', () => {
  it('fit every error of the corpus', async () => {
    const found: Record<string, ErrorCategory> = {};
    for (const entry of corpus.entries) {
      found[entry.reason] = categoryOf(factsOf(await failureOf(entry, 1)));
    }
    expect(found).toEqual(
      Object.fromEntries(corpus.entries.map(({ reason, category }) => [reason, category])),
    );
  });

  it.each([
    // The code decides before the name, the name before the message.
    ['timeout', 'connect ETIMEDOUT 10.0.0.1:443', 'ETIMEDOUT', 'Error'],
    ['network', 'timed out', 'ECONNRESET', 'TimeoutError'],
    ['timeout', 'permission denied', null, 'HeadersTimeoutError'],
    ['timeout', 'permission denied', 'UNHEARD_OF', 'TimedOutError'],
    ['import', "Cannot find module '/a/b.mjs' imported from /a/c.mjs", 'ERR_MODULE_NOT_FOUND', 'Error'],
    ['file_not_found', 'spawn ffmpeg ENOENT', 'ENOENT', 'Error'],
    // An answer's status, where clients put it.
    ['permission', 'no', '401', 'ApiError'],
    ['permission', 'no', '407', 'ApiError'],
    ['timeout', 'no', '408', 'ApiError'],
    ['timeout', 'no', '524', 'ApiError'],
    ['network', 'no', '502', 'ApiError'],
    ['other', 'no', '404', 'ApiError'],
    ['other', 'no', '399', 'ApiError'],
    ['other', 'no', '4031', 'ApiError'],
    ['permission', 'Response code 403 (Forbidden)', 'ERR_NON_2XX_3XX_RESPONSE', 'HTTPError'],
    ['network', '503 Service Unavailable', null, 'Error'],
    ['timeout', 'GET https://example.com/a: 504 Gateway Timeout', null, 'Error'],
    ['permission', 'HTTP/1.1 403', null, 'Error'],
    ['other', '503 rows were refused', null, 'Error'],
    ['other', 'row 12: 403 is no colour', null, 'Error'],
    // Errors that were wrapped keep the code of the one inside.
    ['network', 'Could not sync: connect ECONNREFUSED 127.0.0.1:1', null, 'Error'],
    ['file_not_found', 'Upload failed (ENOENT: no such file or directory)', null, 'Error'],
    ['other', 'EVERYTHING IS LOST', null, 'Error'],
    // SQLite's extended codes follow the code they extend.
    ['permission', 'x', 'SQLITE_READONLY_DBMOVED', 'SqliteError'],
    ['timeout', 'x', 'SQLITE_BUSY_SNAPSHOT', 'SqliteError'],
    ['other', 'x', 'SQLITE_CONSTRAINT_UNIQUE', 'SqliteError'],
    // What a program is told about its own mistakes quotes data.
    ['other', 'The value of "timeout" timed out', 'ERR_INVALID_ARG_VALUE', 'TypeError'],
    ['other', 'permission denied', 'ERR_ASSERTION', 'AssertionError'],
    ['other', '"timed out" is not valid JSON', null, 'SyntaxError'],
    ['import', "Unexpected token 'export'", null, 'SyntaxError'],
    ['import', 'require is not defined in ES module scope, you can use import', null, 'ReferenceError'],
    // A cancel is no timeout, unless it says so.
    ['other', 'The operation was aborted', 'ABORT_ERR', 'AbortError'],
    ['timeout', 'The operation was aborted due to timeout', '20', 'AbortError'],
    ['network', 'stream closed', 'ERR_HTTP2_STREAM_ERROR', 'Error'],
    ['network', 'self-signed certificate', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'Error'],
    ['timeout', 'Connection terminated due to connection timeout', null, 'Error'],
    ['other', 'the timeout must be a number', null, 'Error'],
    ['other', 'Invalid array length', null, 'RangeError'],
    ['memory', 'Invalid string length', null, 'RangeError'],
    ['other', 'Maximum call stack size exceeded', null, 'RangeError'],
    ['permission', 'x', 'STORAGE_READONLY', 'RecoveryError'],
    ['network', 'x', 'STORAGE_UNAVAILABLE', 'RecoveryError'],
    ['timeout', 'x', 'TASK_TIMED_OUT', 'RecoveryError'],
    ['import', 'x', 'DRIVER_MISSING', 'RecoveryError'],
    ['other', '', null, 'Error'],
    ['other', 'x', '', ''],
    ['other', 'x', '__proto__', 'constructor'],
  ] as const)('say %s of %j (%s, %s)', (category, message, code, name) => {
    expect(of(message, code, name)).toBe(category);
  });

  it('look at the beginning of a message only', () => {
    expect(of(`${'x '.repeat(1_019)}timed out`)).toBe('timeout');
    expect(of(`${'x '.repeat(1_020)}timed out`)).toBe('other');
  });

  it('property: are one of seven, whatever is thrown', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('ECONNABORTED', 'SQLITE_', '500'));
    const known = ['import', 'memory', 'timeout', 'file_not_found', 'permission', 'network', 'other'];
    fc.assert(
      fc.property(text, text, fc.option(text), (name, message, code) => {
        expect(known).toContain(categoryOf({ name, message, code }));
      }),
    );
  });

  it.each([
    'due to a ',
    'EAAA ',
    'ERR_',
    'status ',
    'HTTP/1.1.1.',
    ': 500',
    'connection ',
    'Authentication',
    '\n',
  ])('take no long time for 1 MiB of %j', (piece) => {
    const text = piece.repeat(Math.ceil(2 ** 20 / piece.length));
    const start = performance.now();
    expect(typeof categoryOf({ name: text, message: text, code: text })).toBe('string');
    expect(performance.now() - start).toBeLessThan(200);
  });
});
