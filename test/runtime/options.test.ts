import { describe, expect, it } from 'vitest';
import type { CrashBudget } from '../../src/domain/task.js';
import { messageOf } from '../../src/errors.js';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { budgetOf, settingsOf } from '../../src/runtime/options.js';
import type { RecoveryOptions } from '../../src/runtime/options.js';
import { memoryStorage } from '../../src/storage/memory.js';

const storage = memoryStorage();
const HOUR_MS = 3_600_000;

function complaint(run: () => unknown): string {
  try {
    run();
    return '';
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_OPTION' });
    return messageOf(error);
  }
}

/** Options as plain JavaScript may give them. */
function loose(options: unknown): RecoveryOptions {
  return Object.assign(Object.create(null), { storage }, options);
}

describe('createRecovery', () => {
  it('keeps tasks for as long as documents are kept, unless somebody says otherwise', () => {
    const documents = { retentionMs: 90 * 24 * HOUR_MS, deadLetterRetentionMs: 24 * HOUR_MS };
    expect(settingsOf({ storage, documents }).retention).toMatchObject({
      failed: 90 * 24 * HOUR_MS,
      dead_letter: 30 * 24 * HOUR_MS,
    });
    const retention = { failedMs: HOUR_MS };
    expect(settingsOf({ storage, documents, retention }).retention.failed).toBe(HOUR_MS);
  });

  it('has the documented defaults', () => {
    expect(settingsOf({ storage })).toEqual({
      namespace: 'rekindle',
      slot: null,
      leaseMs: 15_000,
      sweepIntervalMs: 30_000,
      stuckAfterMs: 30 * 60_000,
      concurrency: 10,
      crashBudget: { count: 3, windowMs: 72 * HOUR_MS },
      limits: {
        inputBytes: 1_048_576,
        checkpointBytes: 1_048_576,
        resultBytes: 1_048_576,
        errorBytes: 8_192,
        checkpointNames: 10_000,
        stepNames: 10_000,
        userContextBytes: 4_096,
      },
      checks: new Map(),
      checkpointEvents: false,
      itemEvents: false,
      redact: null,
      thresholds: {
        stalled: 10,
        processing: 50,
        queue: 100,
        oldestProcessingMs: HOUR_MS,
        successRatePercent: 90,
      },
      retention: {
        completed: 7 * 24 * HOUR_MS,
        cancelled: 7 * 24 * HOUR_MS,
        failed: 30 * 24 * HOUR_MS,
        dead_letter: 30 * 24 * HOUR_MS,
        countersMs: 8 * 24 * HOUR_MS,
      },
      monitorIntervalMs: 60_000,
      logger: null,
      dispatch: null,
      handOverMs: 5 * 60_000,
      recoversDocuments: false,
      documents: {
        maxRetries: 3,
        minRetryIntervalMs: HOUR_MS,
        maxRetryIntervalMs: 24 * HOUR_MS,
        batchSize: 10,
        concurrency: 10,
        periodic: true,
        recoveryIntervalMs: HOUR_MS / 2,
        attemptTimeoutMs: 300_000,
        retentionMs: 7 * 24 * HOUR_MS,
        deadLetterRetentionMs: 30 * 24 * HOUR_MS,
        categorize: null,
        onProgress: null,
      },
    });
  });

  it('takes a limit that is undefined for absent, like every other option', () => {
    const given = loose({ limits: { inputBytes: undefined, resultBytes: 5 }, leaseMs: undefined });
    expect(settingsOf(given)).toMatchObject({
      leaseMs: 15_000,
      limits: { inputBytes: 1_048_576, resultBytes: 5 },
    });
  });

  it('names all that is wrong at once', () => {
    const given = loose({
      storage: {},
      leaseMs: 5,
      namespace: 'a{b',
      speed: 1,
      checks: { a: 1 },
      strategies: [],
      maxCrashes: { count: 2 },
    });
    const message = complaint(() => createRecovery(given));
    for (const part of [
      '"storage" must be a storage, such as sqliteStorage',
      '"leaseMs"',
      '"namespace"',
      '"speed" is no option',
      '"checks"',
      '"strategies" must not be empty',
      '"maxCrashes" windowMs',
    ]) {
      expect(message).toContain(part);
    }
    expect(complaint(() => Reflect.apply(createRecovery, null, []))).toContain('must be an object');
  });

  it.each<[string, unknown]>([
    ['maxCrashes', 0],
    ['maxCrashes', 51],
    ['maxCrashes', { count: 1, windowMs: 1, more: 1 }],
    ['limits', { inputByte: 1 }],
    ['limits', { inputBytes: 3 * 1024 * 1024 }],
    ['limits', { userContextBytes: 0 }],
    ['codec', { encode: () => '' }],
    ['codec', 'gzip'],
    ['redact', 'yes'],
    ['limits', { toString: 1 }],
    ['optionalEvents', ['task_started']],
    ['strategies', [{}]],
    ['slot', ''],
    ['leaseMs', Number.NaN],
  ])('refuses %s: %j', (name, value) => {
    expect(complaint(() => settingsOf(loose({ [name]: value })))).toContain(`"${name}"`);
  });
});

describe('budgetOf', () => {
  const fallback = { count: 5, windowMs: 7 };

  it.each<[number | CrashBudget | undefined, CrashBudget]>([
    [undefined, fallback],
    [2, { count: 2, windowMs: 72 * HOUR_MS }],
    [
      { count: 4, windowMs: 9 },
      { count: 4, windowMs: 9 },
    ],
  ])('of %j: a plain number of crashes counts within 72 h', (given, budget) => {
    expect(budgetOf(given, fallback)).toEqual(budget);
  });
});
