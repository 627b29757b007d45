import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isRecoveryError } from '../../src/errors.js';
import { decodeHead } from '../../src/state/head.js';
import { createBatch } from '../../src/state/transitions.js';

const GOOD = {
  token: '12.nonce.3',
  status: 'processing',
  name: 'import',
  priority: '7',
  owner: 'worker-1',
  leaseUntil: '5000',
  attempt: '2',
  createdAt: '1000',
  eventSeq: '4',
  input: '["x"]',
} as const;

function head(fields: Readonly<Record<string, string>>): ReturnType<typeof decodeHead> {
  return decodeHead('t', new Map(Object.entries({ ...GOOD, ...fields })));
}

describe('decodeHead', () => {
  it('reads what a create wrote', () => {
    const holder = { owner: 'w', leaseMs: 1_000, fence: 9, nonce: 'n', notAfter: 50 };
    const batch = createBatch({ taskId: 't', name: 'import', priority: 3, inputText: '[1]' }, holder);
    const fields = Object.entries(batch.set?.[0]?.fields ?? {}).map(([name, value]): [string, string] => [
      name,
      typeof value === 'string' ? value : String(100 + value.fromNow),
    ]);
    expect(decodeHead('t', new Map([...fields, ['token', batch.guard.next ?? '']]))).toMatchObject({
      token: '9.n.0',
      input: '[1]',
      eventSeq: 1,
      checkpointSeq: 0,
      automatic: null,
      resultKind: 'none',
      task: {
        taskId: 't',
        name: 'import',
        status: 'processing',
        priority: 3,
        attempt: 1,
        fence: 9,
        owner: 'w',
        leaseUntilMs: 1_100,
        createdAtMs: 100,
        progressAtMs: 100,
        progressPercent: 0,
        crashedAtMs: [],
        orphanCause: null,
        error: null,
      },
    });
  });

  it('reads every field', () => {
    const read = head({
      progress: '42.5',
      step: 's',
      description: 'd',
      progressAt: '1500',
      stuckSince: '1600',
      crashes: '[1,2,"x"]',
      cause: 'owner_dead',
      auto: '{"percent":40,"step":null,"atMs":1400}',
      checkpointBase: '2',
      'r:parsed': '3',
      'r:__proto__': '4',
      resultKind: 'inline',
      result: '5',
    });
    expect(read.task).toMatchObject({
      progressPercent: 42.5,
      step: 's',
      description: 'd',
      progressAtMs: 1_500,
      stuckSinceMs: 1_600,
      crashedAtMs: [1, 2],
      orphanCause: 'owner_dead',
    });
    expect(read).toMatchObject({ checkpointSeq: 4, checkpointBase: 2, resultKind: 'inline', result: '5' });
    expect(read.automatic).toEqual({ percent: 40, step: null, atMs: 1_400 });
    expect([...read.reached]).toEqual([
      ['parsed', 3],
      ['__proto__', 4],
    ]);
  });

  it('takes an empty text for a cleared field', () => {
    const read = head({ stuckSince: '', auto: '', crashes: '' });
    expect(read.task.stuckSinceMs).toBeNull();
    expect(read.automatic).toBeNull();
    expect(read.task.crashedAtMs).toEqual([]);
  });

  it('tells of a lease only while processing, of an end only when ended, of an error only when failed', () => {
    const more = { endedAt: '9', error: '{"name":"E","message":"m","code":"C"}' };
    expect(head({ ...more, status: 'orphaned' }).task).toMatchObject({
      leaseUntilMs: null,
      endedAtMs: null,
      error: null,
    });
    expect(head({ ...more, status: 'completed' }).task).toMatchObject({ endedAtMs: 9, error: null });
    const error = { name: 'E', message: 'm', code: 'C' };
    expect(head({ ...more, status: 'failed' }).task).toMatchObject({
      leaseUntilMs: null,
      endedAtMs: 9,
      error,
    });
    expect(head({ ...more, status: 'dead_letter' }).task.error).toEqual(error);
  });

  it.each([
    ['token', 'x'],
    ['status', 'sleeping'],
    ['priority', '11'],
    ['priority', '-1'],
    ['attempt', 'two'],
    ['attempt', ''],
    ['leaseUntil', 'soon'],
    ['createdAt', 'Infinity'],
    ['progress', 'NaN'],
    ['crashes', '[1'],
    ['cause', 'bad luck'],
    ['auto', '{'],
    ['r:parsed', 'x'],
    ['r:parsed', ''],
    ['checkpointBase', 'x'],
    ['eventSeq', 'x'],
    ['resultKind', 'toString'],
    ['orphanedAt', 'x'],
  ])('names the field that is unusable: %s = %j', (field, value) => {
    expect(() => head({ [field]: value })).toThrow(
      expect.objectContaining({ code: 'CORRUPT_RECORD', details: { taskId: 't', field } }),
    );
  });

  it.each(['token', 'status', 'name', 'attempt', 'leaseUntil', 'createdAt'])(
    'names the field that is missing: %s',
    (field) => {
      const left = Object.entries(GOOD).filter(([name]) => name !== field);
      expect(() => decodeHead('t', new Map(left))).toThrow(
        expect.objectContaining({ code: 'CORRUPT_RECORD', details: { taskId: 't', field } }),
      );
    },
  );

  it('property: whatever is in the record, it decodes or is CORRUPT_RECORD', () => {
    const field = fc.constantFrom(
      ...Object.keys(GOOD),
      'crashes',
      'auto',
      'error',
      'progress',
      'r:x',
      'cause',
    );
    const value = fc.oneof(fc.string(), fc.json(), fc.constantFrom('processing', 'failed', '5', ''));
    fc.assert(
      fc.property(fc.array(fc.tuple(field, value), { maxLength: 5 }), (changes) => {
        try {
          head(Object.fromEntries(changes));
        } catch (error) {
          expect(isRecoveryError(error, 'CORRUPT_RECORD')).toBe(true);
        }
      }),
    );
  });
});
