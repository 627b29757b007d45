import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSchema, parseInput } from '../../src/domain/schema.js';
import type { SchemaIssue, SchemaResult, StandardSchema } from '../../src/domain/schema.js';
import { isRecoveryError, RecoveryError } from '../../src/errors.js';

type Validate = StandardSchema['~standard']['validate'];

function schemaOf(validate: Validate): StandardSchema {
  return { '~standard': { version: 1, vendor: 'test', validate } };
}

async function failureOf(validate: Validate, input: unknown = 1): Promise<RecoveryError> {
  try {
    await parseInput(schemaOf(validate), 'import', input);
  } catch (error) {
    if (isRecoveryError(error)) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

const refusing = (...issues: readonly SchemaIssue[]): (() => SchemaResult<unknown>) => {
  return () => ({ issues });
};

describe('parseInput', () => {
  it('property: gives what the schema makes of it, at once or later', async () => {
    await fc.assert(
      fc.asyncProperty(fc.anything(), fc.anything(), fc.boolean(), async (input, value, later) => {
        const seen: unknown[] = [];
        const schema = schemaOf((given) => {
          seen.push(given);
          return later ? Promise.resolve({ value }) : { value };
        });
        expect(await parseInput(schema, 'import', input)).toBe(value);
        expect(seen).toHaveLength(1);
        expect(seen[0]).toBe(input);
      }),
    );
  });

  it('an `issues` that is undefined is none', async () => {
    expect(
      await parseInput(
        schemaOf(() => ({ value: 5, issues: undefined })),
        'n',
        1,
      ),
    ).toBe(5);
  });

  it('names what is wrong, by path', async () => {
    const error = await failureOf(
      refusing(
        { message: 'is no object' },
        { message: 'is no list', path: [] },
        { message: 'too small', path: ['pages', 3, 'size'] },
        { message: 'too large', path: [{ key: 'pages' }, { key: 0 }] },
        { message: 'odd', path: [Symbol('s')] },
      ),
    );
    expect(error).toMatchObject({ code: 'INPUT_INVALID', retryable: false });
    expect(error.message).toBe(
      'The input of "import" does not fit its schema: the input: is no object; the input: is no list; ' +
        'pages.3.size: too small; pages.0: too large; Symbol(s): odd.',
    );
    expect(error.details['issues']).toEqual([
      { path: 'the input', message: 'is no object' },
      { path: 'the input', message: 'is no list' },
      { path: 'pages.3.size', message: 'too small' },
      { path: 'pages.0', message: 'too large' },
      { path: 'Symbol(s)', message: 'odd' },
    ]);
  });

  it('issues that come later refuse, too', async () => {
    const { message } = await failureOf(async () => ({ issues: [{ message: 'no', path: ['a'] }] }));
    expect(message).toContain('a: no');
  });

  it('an empty list of issues is a refusal all the same', async () => {
    expect(await failureOf(refusing())).toMatchObject({ code: 'INPUT_INVALID', details: { issues: [] } });
  });

  it.each([
    [1, ''],
    [10, ''],
    [11, '; and 1 more'],
    [25, '; and 15 more'],
  ])('%i issues: names ten, and counts the rest', async (count, rest) => {
    const issues = Array.from({ length: count }, (_, at) => ({ message: 'no', path: [`f${at}`] }));
    const { message, details } = await failureOf(refusing(...issues));
    expect(message.match(/f\d+: no/g)).toHaveLength(Math.min(10, count));
    expect(message.endsWith(`: no${rest}.`)).toBe(true);
    expect(details['issues']).toHaveLength(count);
  });

  it.each<[string, Validate]>([
    [
      'throws',
      () => {
        throw new TypeError('broken');
      },
    ],
    ['rejects', () => Promise.reject(new TypeError('broken'))],
  ])('a schema that %s: the input counts as invalid, with the cause', async (_what, validate) => {
    const error = await failureOf(validate);
    expect(error).toMatchObject({ code: 'INPUT_INVALID', cause: expect.any(TypeError) });
    expect(error.message).toContain('schema of "import" threw instead of answering: broken');
  });
});

describe('isSchema', () => {
  const standard = { version: 1, vendor: 'test', validate: () => ({ value: 1 }) };
  it.each<[string, unknown]>([
    ['an object', { '~standard': standard }],
    ['a function', Object.assign(() => 1, { '~standard': standard })],
    [
      'an instance',
      new (class {
        '~standard' = standard;
      })(),
    ],
  ])('takes %s', (_what, schema) => {
    expect(isSchema(schema)).toBeNull();
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'x'],
    ['a list', [standard]],
    ['a plain function', () => 1],
    ['an object without it', {}],
    ['one whose part is a text', { '~standard': 'x' }],
    ['one without validate', { '~standard': { version: 1 } }],
    ['one whose validate is a text', { '~standard': { validate: 'x' } }],
  ])('refuses %s, and says what it wants', (_what, schema) => {
    expect(isSchema(schema)).toContain("'~standard'.validate");
  });
});
