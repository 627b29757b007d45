import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PayloadCodec } from '../../src/domain/codec.js';
import { aesGcmCodec, gzipCodec } from '../../src/domain/codec.js';
import { isRecoveryError, RecoveryError } from '../../src/errors.js';
import { Payloads } from '../../src/state/payloads.js';
import { placeCodec } from './place-codec.js';

const SECRET = 'hunter2';
const aes = aesGcmCodec({ keys: { k: 'ab'.repeat(32) }, currentKeyId: 'k' });

/** A codec of someone without types. */
function oddCodec(run: (text: string, place: string) => unknown): PayloadCodec {
  const codec: PayloadCodec = { encode: String, decode: String };
  for (const way of ['encode', 'decode']) Reflect.set(codec, way, run);
  return codec;
}

function failureOf(run: () => unknown): RecoveryError {
  try {
    run();
  } catch (error) {
    if (isRecoveryError(error)) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('without a codec', () => {
  const payloads = new Payloads(null, 'ns');

  it('property: JSON texts are stored as they are', () => {
    expect(payloads.encoded).toBe(false);
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(payloads.seal(text, 't', 'input')).toBe(text);
        expect(payloads.open(text, 't', 'input')).toBe(text);
      }),
    );
  });

  it.each(['~', '~x', '~[1]'])('%j was stored through one: it says which payload of which task', (stored) => {
    expect(failureOf(() => payloads.open(stored, 'task-7', 'result'))).toMatchObject({
      code: 'CODEC_FAILED',
      retryable: false,
      message: expect.stringContaining('The result of task "task-7"'),
      details: { taskId: 'task-7', payload: 'result' },
    });
  });
});

describe('with a codec', () => {
  it.each<[string, PayloadCodec]>([
    ['that hides', placeCodec],
    ['that encrypts', aes],
    ['that compresses', gzipCodec({ aboveBytes: 10 })],
    ['that does nothing', { encode: (text) => text, decode: (text) => text }],
    ['that makes nothing of it', oddCodec(() => '')],
  ])('%s: a sealed text is marked, and comes back', (_what, codec) => {
    const payloads = new Payloads(codec, 'ns');
    expect(payloads.encoded).toBe(true);
    fc.assert(
      fc.property(fc.json(), fc.string(), fc.string(), (text, taskId, what) => {
        const sealed = payloads.seal(text, taskId, what);
        expect(sealed.startsWith('~')).toBe(true);
        const opened = payloads.open(sealed, taskId, what);
        expect(opened).toBe(codec.decode(sealed.slice(1), placeOf('ns', taskId, what)));
        if (codec.encode('[]', '') !== '') expect(opened).toBe(text);
      }),
      { numRuns: 30 },
    );
  });

  it('shows it a text from before as it is', () => {
    const seen: unknown[] = [];
    const payloads = new Payloads(
      oddCodec((...given) => (seen.push(given), 'opened')),
      'ns',
    );
    expect(payloads.open('[1]', 't', 'input')).toBe('opened');
    expect(seen).toEqual([['[1]', placeOf('ns', 't', 'input')]]);
    expect(() => new Payloads(aes, 'ns').open('[1]', 't', 'input')).toThrow('is not encrypted');
  });

  it.each<[string, (text: string) => unknown, string]>([
    [
      'throws',
      (text) => {
        throw new RangeError(text);
      },
      'RangeError',
    ],
    [
      'throws no error',
      (text) => {
        throw text;
      },
      'string',
    ],
    [
      'throws nothing',
      () => {
        throw undefined;
      },
      'undefined',
    ],
    ['answers a buffer', (text) => Buffer.from(text), 'no well-formed text'],
    ['answers nothing', () => undefined, 'no well-formed text'],
    ['answers a promise', async (text) => text, 'no well-formed text'],
    ['answers a lone surrogate', () => 'a\ud800', 'no well-formed text'],
  ])('that %s: CODEC_FAILED, without the payload', (_what, run, told) => {
    const payloads = new Payloads(oddCodec(run), 'ns');
    for (const way of ['seal', 'open'] as const) {
      const error = failureOf(() => payloads[way](`~"${SECRET}"`, 'task-7', 'input'));
      expect(error).toMatchObject({
        code: 'CODEC_FAILED',
        retryable: false,
        details: { taskId: 'task-7', payload: 'input' },
      });
      expect(error.message).toContain(told);
      expect(error.message).toContain(way === 'seal' ? 'encode input of task "task-7"' : 'decode input');
      expect(JSON.stringify([error.message, error.details, error.cause])).not.toContain(SECRET);
    }
  });

  it('its own CODEC_FAILED keeps its words and facts, and tells the way', () => {
    const own = new RecoveryError('CODEC_FAILED', 'the key is gone', { details: { keyId: 'k' } });
    const payloads = new Payloads(
      oddCodec(() => {
        throw own;
      }),
      'ns',
    );
    const details = { keyId: 'k', taskId: 't', payload: 'input' };
    const message = expect.stringContaining('the key is gone');
    expect(failureOf(() => payloads.open('~x', 't', 'input'))).toMatchObject({
      message,
      details: { ...details, way: 'decode' },
    });
    expect(failureOf(() => payloads.seal('1', 't', 'input'))).toMatchObject({
      message,
      details: { ...details, way: 'encode' },
    });
  });
});

/** The place that a codec is told. */
function placeOf(namespace: string, taskId: string, what: string): string {
  let told = '';
  const codec = oddCodec((_text, place) => (told = place));
  new Payloads(codec, namespace).seal('1', taskId, what);
  return told;
}

describe('places', () => {
  // Few characters, and those that the place is made with, so that parts run into each other if they can.
  const part = fc.string({ unit: fc.constantFrom('a', ' ', ':', '1', '2', '3'), maxLength: 6 });
  const triple = fc.tuple(part, part, part);

  it('property: no two payloads have the same one', () => {
    fc.assert(
      fc.property(triple, triple, (one, other) => {
        expect(placeOf(...one) === placeOf(...other)).toBe(one.join('\0') === other.join('\0'));
      }),
      { numRuns: 2_000 },
    );
  });

  it('property: no division of one text into parts has that of another', () => {
    const cuts = fc.tuple(fc.nat(12), fc.nat(12)).map((pair) => pair.toSorted((a, b) => a - b));
    const divided = (text: string, [a = 0, b = 0]: number[]): [string, string, string] => [
      text.slice(0, a),
      text.slice(a, b),
      text.slice(b),
    ];
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('1', ':', ' '), maxLength: 12 }),
        cuts,
        cuts,
        (text, p, q) => {
          const [one, other] = [divided(text, p), divided(text, q)];
          expect(placeOf(...one) === placeOf(...other)).toBe(one.join('\0') === other.join('\0'));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('property: an encrypted payload opens at its own place only', () => {
    fc.assert(
      fc.property(triple, triple, ([ns, id, what], [ns2, id2, what2]) => {
        fc.pre(ns !== ns2 || id !== id2 || what !== what2);
        const sealed = new Payloads(aes, ns).seal('[1]', id, what);
        expect(() => new Payloads(aes, ns2).open(sealed, id2, what2)).toThrow(
          expect.objectContaining({ code: 'CODEC_FAILED' }),
        );
      }),
    );
  });
});
