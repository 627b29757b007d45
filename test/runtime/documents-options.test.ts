import { describe, expect, it } from 'vitest';
import { documentSettingsOf } from '../../src/domain/document-recovery.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { rejectionOf } from './harness.js';

const DAY_MS = 86_400_000;

it('the defaults are those that are documented', () => {
  expect(documentSettingsOf('here', {})).toEqual({
    maxRetries: 3,
    minRetryIntervalMs: 3_600_000,
    maxRetryIntervalMs: DAY_MS,
    batchSize: 10,
    concurrency: 10,
    periodic: true,
    recoveryIntervalMs: 1_800_000,
    attemptTimeoutMs: 300_000,
    retentionMs: 7 * DAY_MS,
    deadLetterRetentionMs: 30 * DAY_MS,
    categorize: null,
    onProgress: null,
  });
});

it('the longest wait is never under a minimum that was given alone', () => {
  expect(documentSettingsOf('here', { minRetryIntervalMs: 2 * DAY_MS }).maxRetryIntervalMs).toBe(2 * DAY_MS);
  expect(() => documentSettingsOf('here', { minRetryIntervalMs: 10, maxRetryIntervalMs: 9 })).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION' }),
  );
  expect(() => documentSettingsOf('here', { maxRetryIntervalMs: 3_599_999 })).toThrow('minRetryIntervalMs');
});

const NUMBERS: Record<string, readonly [number, number]> = {
  maxRetries: [0, 50],
  minRetryIntervalMs: [1, 3_660 * DAY_MS],
  maxRetryIntervalMs: [1, 3_660 * DAY_MS],
  batchSize: [1, 1_000],
  concurrency: [1, 10_000],
  recoveryIntervalMs: [10, 3_660 * DAY_MS],
  attemptTimeoutMs: [1, 3_660 * DAY_MS],
  retentionMs: [1, 3_660 * DAY_MS],
  deadLetterRetentionMs: [1, 3_660 * DAY_MS],
};
const bad = Object.entries(NUMBERS).flatMap(([name, [least, most]]) =>
  [least - 1, most + 1, least + 0.5, Number.NaN, Infinity, String(least), null, true].map(
    (value) => [name, value] as const,
  ),
);
const badOnes: (readonly [string, unknown])[] = [
  ...bad,
  ['periodic', 1],
  ['periodic', null],
  ['categorize', 'network'],
  ['onProgress', {}],
  ['retries', 3],
];

describe('INVALID_OPTION', () => {
  it.each(badOnes)('documents.%s: %s', (name, value) => {
    const make = (): unknown =>
      Reflect.apply(createRecovery, null, [{ storage: memoryStorage(), documents: { [name]: value } }]);
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    expect(make).toThrow(`"${name}"`);
  });

  it.each(Object.entries(NUMBERS))('the bounds of %s are allowed themselves', (name, [least, most]) => {
    const others = name === 'minRetryIntervalMs' ? {} : { minRetryIntervalMs: 1 };
    for (const value of [least, most])
      expect(documentSettingsOf('here', { ...others, [name]: value })).toMatchObject({ [name]: value });
  });

  it.each([[], 'all', null, 7])('documents: %j', (documents) => {
    const make = (): unknown =>
      Reflect.apply(createRecovery, null, [{ storage: memoryStorage(), documents }]);
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  it.each([
    [{ fingerprint: 1 }, 'fingerprint'],
    [{ category: null }, 'category'],
    [{ afterVersion: 2 }, 'afterVersion'],
    [{ names: 'read' }, 'names'],
    [{ taskIds: [7] }, 'taskIds'],
    [{ eligible: true }, 'eligible'],
    ['all', 'must be an object'],
  ])('recover(%j)', async (filter, named) => {
    const recovery = createRecovery({ storage: memoryStorage() });
    const error = await rejectionOf(Reflect.apply(recovery.documents.recover, null, [filter]));
    expect(error).toMatchObject({ code: 'INVALID_OPTION', message: expect.stringContaining(named) });
    await recovery.shutdown();
  });
});
