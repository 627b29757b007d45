import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fingerprintOf, normalizedMessage, topUserFrame } from '../../src/domain/fingerprint.js';
import { failureOf, factsOf } from './error-corpus-entry.js';
import { openCorpus } from './error-corpus.js';

const printOf = (message: string, code: string | null = null, name = 'Error'): string =>
  fingerprintOf({ name, message, code, frame: null });

describe('the corpus of errors', () => {
  let corpus: Awaited<ReturnType<typeof openCorpus>>;
  beforeAll(async () => {
    corpus = await openCorpus();
  });
  afterAll(() => corpus.close());

  it('falls into one group a reason', async () => {
    const groups: Record<string, string[]> = {};
    const split: string[][] = [];
    const frames: string[][] = [];
    for (const entry of corpus.entries) {
      const errors = [await failureOf(entry, 1), await failureOf(entry, 2)];
      const facts = errors.map(factsOf);
      const prints = new Set(facts.map((fact) => fingerprintOf({ ...fact, frame: null })));
      if (prints.size > 1) split.push(facts.map(({ message }) => normalizedMessage(message)));
      for (const print of prints) (groups[print] ??= []).push(entry.reason);
      const found = errors.map((error) => String(error instanceof Error && topUserFrame(error.stack)));
      if (new Set(found).size > 1) frames.push(found);
    }
    expect(split).toEqual([]);
    expect(Object.values(groups).filter((reasons) => reasons.length > 1)).toEqual([]);
    expect(frames).toEqual([]);
    expect(corpus.entries.filter(({ origin }) => origin === 'provoked').length).toBeGreaterThan(60);
  });
});

describe('the top frame of the user', () => {
  const top = (...frames: readonly string[]): string | null =>
    topUserFrame(
      ['Error: it failed', 'in two lines', ...frames.map((frame) => `    at ${frame}`)].join('\n'),
      null,
    );

  it.each([
    ['a function', 'readRow (/app/dist/import.js:10:5)', 'readRow @ import.js'],
    ['a method', 'Importer.readRow (/app/dist/import.js:10:5)', 'Importer.readRow @ import.js'],
    ['a private one', 'Importer.#read (/app/a.js:1:2)', 'Importer.#read @ a.js'],
    ['an alias', 'Object.read [as load] (/app/a.js:1:2)', 'read @ a.js'],
    ['a constructor', 'new Importer (/app/a.js:1:2)', 'new Importer @ a.js'],
    ['an async function', 'async readRow (file:///app/a.js:1:2)', 'readRow @ a.js'],
    ['async without a name', 'async file:///app/a.js:1:2', '<anonymous> @ a.js'],
    ['a module', 'Object.<anonymous> (/app/a.cjs:1:2)', '<anonymous> @ a.cjs'],
    ['no name', '/app/a.js:1:2', '<anonymous> @ a.js'],
    ['a Windows path', 'run (C:\\app\\src\\a.ts:1:2)', 'run @ a.ts'],
    ['a Windows URL', 'run (file:///C:/app/src/a.ts:1:2)', 'run @ a.ts'],
    ['folders with signs and no name', '/a (b) c/d.js:1:2', '<anonymous> @ d.js'],
    ['folders with signs', 'run (/a (b) c/d.js:1:2)', 'run @ d.js'],
    ['evaluated code', 'eval (eval at run (/app/a.js:3:4), <anonymous>:1:7)', '<anonymous> @ a.js'],
    [
      'twice evaluated',
      'f (eval at g (eval at run (/app/a.js:3:4), <anonymous>:1:1), <anonymous>:1:7)',
      'f @ a.js',
    ],
    ['a query', 'run (file:///app/a.js?v=123:1:2)', 'run @ a.js'],
    ['webpack', 'run (webpack://shop/./src/a.ts?9f3c:1:2)', 'run @ a.ts'],
    ['esbuild', 'run (/app/dist/chunk-QWERTYUI.js:1:2)', 'run @ chunk-#.js'],
    ['vite', 'run (/app/dist/index-BxYaQwEr.mjs:1:2)', 'run @ index-#.mjs'],
    ['a hash of hex', 'run (/app/dist/main.3fa85f6457.js:1:2)', 'run @ main.#.js'],
    ['a file of words', 'run (/app/dist/error-category.js:1:2)', 'run @ error-category.js'],
  ])('reads %s', (_what, frame, expected) => {
    expect(top(frame)).toBe(expected);
    expect(top('Array.map (<anonymous>)', 'async Promise.all (index 0)', frame, 'main (/app/z.js:1:2)')).toBe(
      expected,
    );
  });

  it.each([
    'node:internal/process/task_queues:95:5',
    'process.processTicksAndRejections (node:internal/process/task_queues:95:5)',
    'async open (node:internal/fs/promises:639:25)',
    'JSON.parse (<anonymous>)',
    'Array.map (<anonymous>)',
    'async Promise.all (index 0)',
    '<anonymous>',
    'native',
    'get (/app/node_modules/axios/lib/axios.js:1:2)',
    'get (C:\\app\\node_modules\\axios\\lib\\axios.js:1:2)',
    'get (file:///app/node_modules/.pnpm/axios@1.0.0/node_modules/axios/index.js:1:2)',
    'eval (eval at run (/app/node_modules/ejs/ejs.js:3:4), <anonymous>:1:7)',
    'nothing that is a frame',
  ])('passes over %s', (frame) => {
    expect(top(frame)).toBeNull();
    expect(top(frame, 'run (/app/a.js:1:2)')).toBe('run @ a.js');
  });

  it('passes over the library, and over it alone', () => {
    const stack = 'Error\n    at claim (/lib/rekindle/x.js:1:2)\n    at run (/lib/rekindles/a.js:1:2)';
    expect(topUserFrame(stack, 'file:///lib/rekindle/')).toBe('run @ a.js');
    expect(topUserFrame(stack.replaceAll('(/', '(file:///'), 'file:///lib/rekindle/')).toBe('run @ a.js');
    expect(topUserFrame(stack, null)).toBe('claim @ x.js');
    const here = new URL('../../src/runtime/claims.ts', import.meta.url);
    expect(topUserFrame(`Error\n    at f (${here.href}:1:2)\n    at f (${here.pathname}:1:2)`)).toBeNull();
    expect(topUserFrame(new Error('x').stack)).toMatch(/^<anonymous> @ fingerprint\.test\.ts$/);
  });

  it('needs a stack', () => {
    expect(topUserFrame(undefined)).toBeNull();
    expect(topUserFrame('')).toBeNull();
    expect(topUserFrame('Error: at run (/app/a.js:1:2)')).toBeNull();
  });

  it('finds the frames behind a message of any length', () => {
    expect(top('node:fs:1:2', 'run (/app/a.js:1:2)')).toBe('run @ a.js');
    expect(topUserFrame(`Error: ${'x\n'.repeat(2 ** 19)}    at run (/app/a.js:1:2)`)).toBe('run @ a.js');
  });

  it.each(['(', ' (', 'eval at ', 'eval at x (', ')', ':1', '/', '-A1', '.', 'async ', ' [as '])(
    'takes no long time for 1 MiB of %j',
    (piece) => {
      const text = piece.repeat(Math.ceil(2 ** 20 / piece.length));
      const start = performance.now();
      for (const stack of [
        text,
        `E\n    at ${text}`,
        `E\n    at f (${text})`,
        `E\n    at f (eval at ${text})`,
      ]) {
        expect((topUserFrame(stack) ?? '').length).toBeLessThanOrEqual(256);
      }
      expect(performance.now() - start).toBeLessThan(200);
    },
  );

  it('property: never throws', () => {
    const line = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('f (/a.js:1:2)', 'eval at a (b)', '(\ud800/'),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const found = top(...lines);
        expect(found === null || found.isWellFormed()).toBe(true);
      }),
    );
  });
});

describe('a fingerprint', () => {
  it('is 16 characters that stay the same', () => {
    const facts = { name: 'Error', message: "open '/tmp/1'", code: 'ENOENT', frame: 'run @ a.js' };
    // Known by heart: whoever changes the normaliser or the hash regroups what users have kept.
    expect(fingerprintOf(facts)).toBe('J3GE5djpbzfNyTfR');
    expect(fingerprintOf({ ...facts, message: "open '/var/22'" })).toBe(fingerprintOf(facts));
  });

  it('tells names, codes, messages and frames apart', () => {
    const facts = { name: 'a', message: 'a', code: 'a', frame: 'a' };
    const others = [
      { ...facts, name: 'b' },
      { ...facts, message: 'b' },
      { ...facts, code: 'b' },
      { ...facts, code: null },
      { ...facts, frame: 'b' },
      { ...facts, frame: null },
    ];
    expect(new Set([facts, ...others].map(fingerprintOf)).size).toBe(7);
    expect(printOf('null')).not.toBe(printOf('', 'null'));
    expect(printOf('b', null, 'a')).not.toBe(printOf('', 'b', 'a'));
  });

  it('property: never throws, and is the same for the same', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(text, text, fc.option(text), fc.option(text), (name, message, code, frame) => {
        const print = fingerprintOf({ name, message, code, frame });
        expect(print).toMatch(/^[\w-]{16}$/);
        expect(fingerprintOf({ name, message, code, frame })).toBe(print);
      }),
    );
    const long = '\ud800'.repeat(2 ** 20);
    expect(fingerprintOf({ name: long, message: long, code: long, frame: long })).toMatch(/^[\w-]{16}$/);
  });
});
