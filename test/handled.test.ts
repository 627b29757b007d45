import { describe, expect, it } from 'vitest';
import { handled, handledRejection, HandledPromise, promised } from '../src/handled.js';
import { trapUnhandledRejections } from './runtime/harness.js';

trapUnhandledRejections();

const why = new Error('why');

describe('promises that need not be waited for', () => {
  it('end nothing when nobody waits for them, and reject all the same', async () => {
    const late = new HandledPromise<number>();
    const waited = [
      late.promise,
      handledRejection(why),
      promised(() => {
        throw why;
      }),
      handled(() => Promise.reject(why)),
      handled(() => {
        throw why;
      }),
    ];
    late.reject(why);
    // Node tells of unhandled ones a turn later.
    await new Promise((resolve) => void setImmediate(resolve));
    for (const promise of waited) await expect(promise).rejects.toBe(why);
  });

  it('resolve with what they are given', async () => {
    const late = new HandledPromise<number>();
    late.resolve(1);
    await expect(late.promise).resolves.toBe(1);
    await expect(promised(async () => 2)).resolves.toBe(2);
    await expect(handled(async () => 3)).resolves.toBe(3);
  });
});
