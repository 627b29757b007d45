import { describe, expect, it } from 'vitest';
import { messageOf } from '../../src/errors.js';
import { checkTaskOptions } from '../../src/runtime/task-options.js';

const run = (): void => {};
const schema = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } };
const TEN_YEARS_MS = 520 * 7 * 24 * 3_600_000;

function complaint(options: unknown): string {
  try {
    checkTaskOptions(options);
    return '';
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_OPTION' });
    return messageOf(error);
  }
}

describe('task options', () => {
  it('need a name only', () => {
    expect(complaint({ name: 'import' })).toBe('');
  });

  it.each<[string, unknown]>([
    ['taskId', run],
    ['input', schema],
    ['input', Object.assign(() => {}, schema)],
    ['priority', 0],
    ['priority', 10],
    ['checkpointFrequency', 1],
    ['checkpointFrequency', 12.5],
    ['ifRunning', 'reject'],
    ['ifRunning', 'join'],
    ['recovery', 'never'],
    ['userContext', run],
    ['version', '2026-01-beta'],
    ['version', 'x'.repeat(256)],
    ['migrate', run],
    ['onVersionMismatch', 'resume'],
    ['onVersionMismatch', 'restart'],
    ['onVersionMismatch', 'quarantine'],
    ['validate', run],
    ['discover', run],
    ['cleanup', run],
    ['maxAttempts', 1],
    ['maxAttempts', 1_000],
    ['maxCrashes', 5],
    ['maxCrashes', { count: 5, windowMs: 1 }],
    ['maxDurationMs', 1],
    ['maxDurationMs', TEN_YEARS_MS],
    ['maxSilenceMs', 1],
    ['maxSilenceMs', TEN_YEARS_MS],
    ['strategies', [{ name: 's', decide: () => null }]],
  ])('take %s: %j, and undefined for absent', (name, value) => {
    expect(complaint({ name: 'import', [name]: value })).toBe('');
    expect(complaint({ name: 'import', [name]: undefined })).toBe('');
  });

  it.each<[string, unknown]>([
    ['taskId', 'fixed'],
    ['input', {}],
    ['input', run],
    ['priority', 11],
    ['priority', -1],
    ['priority', 1.5],
    ['checkpointFrequency', 0],
    ['checkpointFrequency', 101],
    ['ifRunning', 'wait'],
    ['recovery', 'manual'],
    ['userContext', { id: 1 }],
    ['version', 2],
    ['version', ''],
    ['version', 'x'.repeat(257)],
    ['version', 'a\nb'],
    ['migrate', 'resume'],
    ['onVersionMismatch', 'fail'],
    ['onVersionMismatch', run],
    ['validate', 'yes'],
    ['discover', []],
    ['cleanup', true],
    ['maxAttempts', 0],
    ['maxAttempts', 1_001],
    ['maxAttempts', 2.5],
    ['maxCrashes', 51],
    ['maxCrashes', { count: 5 }],
    ['maxDurationMs', 0],
    ['maxDurationMs', '5s'],
    ['maxDurationMs', TEN_YEARS_MS + 1],
    ['maxSilenceMs', 0],
    ['maxSilenceMs', TEN_YEARS_MS + 1],
    ['strategies', []],
    ['strategies', [run]],
    ['retries', 3],
    ['constructor', 1],
  ])('refuse %s: %j, and name the task', (name, value) => {
    const message = complaint({ name: 'import', [name]: value });
    expect(message).toContain('of "import"');
    expect(message).toContain(`"${name}"`);
  });

  it('refuse all that is wrong at once', () => {
    const message = complaint({ name: 'import', version: 2, maxAttempts: 0, input: 5, retries: 1 });
    for (const name of ['version', 'maxAttempts', 'input', 'retries']) expect(message).toContain(`"${name}"`);
  });

  it.each([[undefined], [{}], [{ name: '' }], [{ name: 5 }], [{ name: 'a{b' }], ['name'], [[]], [null]])(
    'refuse %j',
    (options) => {
      expect(complaint(options)).not.toBe('');
    },
  );
});
