import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { toStorageError } from '../../src/storage/redis/errors.js';

describe('errors of Redis', () => {
  it('carry no arguments of the command that failed', () => {
    const reply = Object.assign(new Error('NOPERM this user has no permissions'), {
      command: { name: 'evalsha', args: ['sha', '1', 'canary-in-a-payload'] },
    });
    const error = toStorageError('a commit', reply);
    expect(inspect(error, { depth: 9 })).not.toContain('canary');
    expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', retryable: false });
    expect(error.cause).toMatchObject({ message: reply.message, stack: reply.stack });
  });

  it('a host whose name looks like an error of access is retried', () => {
    const error = Object.assign(new Error('getaddrinfo EAI_AGAIN oracle.internal'), { code: 'EAI_AGAIN' });
    expect(toStorageError('a read', error)).toMatchObject({ retryable: true, cause: { code: 'EAI_AGAIN' } });
  });
});
