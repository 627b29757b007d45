import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isRecoveryError } from '../../src/errors.js';
import { decodeHead } from '../../src/state/head.js';
import { createBatch } from '../../src/state/transitions.js';
import { newTask } from './task-in-memory.js';

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
    const batch = createBatch(newTask({ name: 'import', priority: 3 }), holder);
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
      userContext: null,
      began: 0,
      suspect: false,
      claimedAtMs: 100,
      ranMs: 0,
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
        version: '1',
        errorCount: 0,
        dueAtMs: null,
        items: null,
        crashes: [],
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
      version: '3-beta',
      errors: '2',
      user: '~sealed',
      began: '2',
      suspect: '1',
      claimedAt: '1200',
      ranMs: '345',
      'm:pages': '1,10,4,1',
      'm:rows': '2,7,0,0',
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
      version: '3-beta',
      errorCount: 2,
      items: { done: 4, total: 17 },
      orphanCause: 'owner_dead',
    });
    expect(read).toMatchObject({
      userContext: '~sealed',
      began: 2,
      suspect: true,
      claimedAtMs: 1_200,
      ranMs: 345,
    });
    expect(read).toMatchObject({ checkpointSeq: 4, checkpointBase: 2, resultKind: 'inline', result: '5' });
    expect(read.automatic).toEqual({ percent: 40, step: null, atMs: 1_400 });
    expect([...read.reached]).toEqual([
      ['parsed', 3],
      ['__proto__', 4],
    ]);
  });

  it('takes an empty text for a cleared field', () => {
    const read = head({ stuckSince: '', auto: '', crashes: '', suspect: '', error: '', status: 'failed' });
    expect(read.suspect).toBe(false);
    expect(read.task.error).toBeNull();
    expect(read.task.stuckSinceMs).toBeNull();
    expect(read.automatic).toBeNull();
    expect(read.task.crashedAtMs).toEqual([]);
  });

  const error = { name: 'E', message: 'm', code: 'C' };
  it.each([
    ['processing', { leaseUntilMs: 5_000, dueAtMs: null, endedAtMs: null, error: null }],
    ['orphaned', { leaseUntilMs: null, dueAtMs: 7, endedAtMs: null, error }],
    ['completed', { leaseUntilMs: null, dueAtMs: null, endedAtMs: 9, error: null }],
    ['failed', { leaseUntilMs: null, dueAtMs: null, endedAtMs: 9, error }],
    ['cancelled', { leaseUntilMs: null, dueAtMs: null, endedAtMs: 9, error }],
    ['dead_letter', { leaseUntilMs: null, dueAtMs: null, endedAtMs: 9, error }],
  ])('%s: tells of lease, queue, end and error only where it has them', (status, shown) => {
    const all = { endedAt: '9', dueAt: '7', error: JSON.stringify(error), status };
    expect(head(all).task).toMatchObject(shown);
  });

  it('property: evidence of crashes comes back, and what is none is left out', () => {
    const evidence = fc.record({
      atMs: fc.nat(),
      owner: fc.option(fc.string()),
      fence: fc.nat(),
      attempt: fc.nat(),
      cause: fc.constantFrom('lease_over' as const, 'owner_dead' as const, 'slot_taken_over' as const),
      step: fc.option(fc.string()),
      progressPercent: fc.nat(100),
      ranMs: fc.nat(),
      suspects: fc.option(fc.nat()),
    });
    const rubbish = fc.constantFrom(1, 'x', null, [5], {}, { atMs: '5' });
    const either = fc.oneof(
      evidence.map((value) => ({ value, good: [value] })),
      rubbish.map((value) => ({ value, good: [] })),
    );
    fc.assert(
      fc.property(fc.array(either), (given) => {
        const { task } = head({ crashes: JSON.stringify(given.map(({ value }) => value)) });
        expect(task.crashes).toEqual(given.flatMap(({ good }) => good));
        expect(task.crashedAtMs).toEqual(task.crashes.map(({ atMs }) => atMs));
      }),
    );
  });

  it.each(['{}', '"x"', '5', 'null'])('crashes that are no list, %s, are none', (crashes) => {
    expect(head({ crashes }).task.crashes).toEqual([]);
  });

  it('a crash of which only the time is left has the rest by default', () => {
    const odd = { atMs: 5, owner: 1, fence: 'x', cause: 'bad luck', step: {}, suspects: '2' };
    expect(head({ crashes: JSON.stringify([odd]) }).task.crashes).toEqual([
      {
        atMs: 5,
        owner: null,
        fence: 0,
        attempt: 0,
        cause: 'lease_over',
        step: null,
        progressPercent: 0,
        ranMs: 0,
        suspects: null,
      },
    ]);
  });

  it.each([
    'lease_over',
    'owner_dead',
    'slot_taken_over',
    'released',
    'own',
    'retried',
    'retry_due',
    'requeued',
  ])('knows the cause %s', (cause) => {
    const crashes = JSON.stringify([{ atMs: 1, cause }]);
    const { task } = head({ cause, crashes });
    expect([task.orphanCause, task.crashes[0]?.cause]).toEqual([cause, cause]);
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
    ['errors', 'x'],
    ['began', 'x'],
    ['claimedAt', 'x'],
    ['ranMs', 'x'],
    ['m:pages', 'x'],
  ])('names the field that is unusable: %s = %j', (field, value) => {
    expect(() => head({ [field]: value })).toThrow(
      expect.objectContaining({ code: 'CORRUPT_RECORD', details: { taskId: 't', field } }),
    );
  });

  it('names an unusable time in the queue', () => {
    expect(() => head({ status: 'orphaned', dueAt: 'x' })).toThrow(
      expect.objectContaining({ code: 'CORRUPT_RECORD', details: { taskId: 't', field: 'dueAt' } }),
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
