import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cancelField, controlBatch, decodeControl, livedField } from '../../src/state/control.js';
import type { Control } from '../../src/state/control.js';
import { keys } from '../../src/state/keys.js';
import type { Fields, Outcome } from '../../src/storage/storage.js';
import { FOREVER, taskInMemory } from './task-in-memory.js';

function controlled() {
  const task = taskInMemory();
  const read = async (): Promise<Control> => decodeControl(await task.record(keys.control('t')));
  const put = (fields: Fields, seen: Control, nonce: string, notAfter: number = FOREVER): Promise<Outcome> =>
    task.commit(controlBatch('t', fields, seen, { nonce, notAfter }));
  return { ...task, read, put };
}

describe('a control record', () => {
  it('that is missing says nothing', () => {
    const nothing = { token: null, cancel: null, lived: new Set() };
    expect(decodeControl(null)).toEqual(nothing);
    expect(decodeControl(undefined)).toEqual(nothing);
  });

  it('property: a reason comes back; lived fences add up', async () => {
    const fences = fc.uniqueArray(fc.integer({ min: 1 }), { maxLength: 5 });
    const reasons = fc
      .tuple(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 300 }))
      .map(([text, times]) => text.repeat(times));
    await fc.assert(
      fc.asyncProperty(reasons, fences, async (reason, lived) => {
        const { read, put } = controlled();
        expect((await put(cancelField(reason), await read(), 'c')).status).toBe('applied');
        for (const fence of lived) {
          expect((await put(livedField(fence), await read(), `l${fence}`)).status).toBe('applied');
        }
        expect(await read()).toMatchObject({ cancel: reason, lived: new Set(lived) });
      }),
      { numRuns: 50 },
    );
  });

  it('an empty reason asks for a cancellation, too', async () => {
    const { read, put } = controlled();
    await put(cancelField(''), await read(), 'c');
    expect((await read()).cancel).toBe('');
  });

  it.each(['', 'x', '{', '5', 'null', '["a"]'])('a reason that is %j counts, without its text', (cancel) => {
    expect(decodeControl(new Map([['cancel', cancel]])).cancel).toBe('');
  });

  it('property: whatever is in the record, it decodes', () => {
    const field = fc.oneof(fc.constantFrom('cancel', 'token', 'lived:', 'lived:x', 'lived:7'), fc.string());
    fc.assert(
      fc.property(fc.array(fc.tuple(field, fc.string())), (fields) => {
        const record = new Map(fields);
        const { token, cancel, lived } = decodeControl(record);
        expect(token).toBe(record.get('token') ?? null);
        expect(cancel !== null).toBe(record.has('cancel'));
        expect(lived.has(7)).toBe(record.has('lived:7'));
      }),
    );
  });

  it('has one writer at a time: who has not seen the last write looks again', async () => {
    const { read, put } = controlled();
    const seen = await read();
    expect(await put(livedField(1), seen, 'a')).toMatchObject({ status: 'applied' });
    expect(await put(livedField(1), seen, 'a')).toMatchObject({ status: 'duplicate' });
    expect(await put(cancelField('x'), seen, 'b')).toMatchObject({ status: 'conflict' });
    const again = await read();
    expect(again).toMatchObject({ cancel: null, lived: new Set([1]) });
    expect(await put(cancelField('x'), again, 'b')).toMatchObject({ status: 'applied' });
    expect(await read()).toMatchObject({ cancel: 'x', lived: new Set([1]) });
    expect(await put(livedField(2), await read(), 'c', 5)).toMatchObject({ status: 'expired' });
  });

  it('touches nothing but itself', () => {
    const batch = controlBatch('t', livedField(4), decodeControl(null), { nonce: 'x', notAfter: 9 });
    expect(batch).toEqual({
      guard: { key: keys.control('t'), expect: null, next: '1.x.0' },
      notAfter: 9,
      set: [{ key: keys.control('t'), fields: { 'lived:4': '1' } }],
    });
  });
});
