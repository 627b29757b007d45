import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aesGcmCodec, chainCodecs, gzipCodec, type PayloadCodec } from '../../src/domain/codec.js';
import { isRecoveryError } from '../../src/errors.js';

const MIB = 1024 * 1024;
const PLACE = 'rekindle task-7 input';
const KEY = Buffer.from('00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210', 'hex');
const HEX = KEY.toString('hex');
const KEY_2 = Buffer.alloc(32, 0xa5);
const TEXT = '{"iban":"DE02120300000000202051"}';
const keyed = (key: Uint8Array | string, id = 'k1') => ({ keys: { [id]: key }, currentKeyId: id });
const aes = aesGcmCodec(keyed(KEY));
const lenient = aesGcmCodec({ ...keyed(KEY), acceptPlainText: true });
const zip = gzipCodec({ aboveBytes: 64 });

function thrownBy(run: () => unknown): unknown {
  try {
    return void run();
  } catch (error) {
    return error;
  }
}

/** The error of a decoding that is refused; null when it is not, or with another code. */
function refusal(codec: PayloadCodec, stored: string, place = PLACE): Error | null {
  const error = thrownBy(() => codec.decode(stored, place));
  return isRecoveryError(error, 'CODEC_FAILED') ? error : null;
}

const accepted = (codec: PayloadCodec, all: readonly string[]) => all.filter((text) => !refusal(codec, text));
const trip = (codec: PayloadCodec, text: string, at = PLACE) => codec.decode(codec.encode(text, at), at);
const cutsOf = (text: string) => Array.from({ length: text.length }, (_, length) => text.slice(0, length));
const bytesOf = (stored: string) => Buffer.from(stored.slice(stored.lastIndexOf(':') + 1), 'base64url');
const zipped = (text: string | Buffer) => `z1:${gzipSync(text).toString('base64url')}`;
const places = fc.string({ unit: 'binary' });
const flipped = (bytes: Buffer, where: number, bit: number) =>
  Buffer.from(bytes.map((byte, at) => (at === where % bytes.length ? byte ^ (1 << bit) : byte)));

/** The documented layout, written without the codec. */
function sealed(text: string, place = PLACE, keyId = 'k1', version = 'e1'): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', KEY, iv);
  cipher.setAAD(Buffer.from(JSON.stringify([version, keyId, place])));
  const parts = [iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
  return `e1:${keyId}:${Buffer.concat(parts).toString('base64url')}`;
}

describe.each<[string, PayloadCodec]>([
  ['aesGcmCodec', aes],
  ['gzipCodec', gzipCodec()],
  ['gzipCodec of everything', gzipCodec({ aboveBytes: 0, level: 1 })],
  ['chainCodecs of none', chainCodecs()],
  ['gzip, then AES', chainCodecs(zip, aes)],
  ['AES, then gzip', chainCodecs(aes, zip)],
  ['gzip twice', chainCodecs(zip, zip)],
  ['AES twice', chainCodecs(aes, aesGcmCodec(keyed(KEY_2, 'k2')))],
])('%s gives back', (_name, codec) => {
  it('property: any JSON text, at any place', () => {
    const many = fc.tuple(fc.json(), fc.nat(300)).map(([text, n]) => `[${`${text},`.repeat(n)}0]`);
    fc.assert(fc.property(fc.oneof(fc.json(), many), places, (text, at) => trip(codec, text, at) === text));
  });

  it.each([
    ['control characters, lone surrogates', JSON.stringify('\0\u0001\u2028\ud800 \udfff'.repeat(500))],
    ['astral characters', JSON.stringify('😀𐍈'.repeat(500))],
    ['a byte order mark first', `\ufeff"${'a'.repeat(2_000)}"`],
    ['1 MiB that repeats', JSON.stringify('abcd'.repeat(MIB / 4))],
    ['1 MiB that is random', JSON.stringify(randomBytes(MIB / 2).toString('hex'))],
  ])('%s', (_what, text) => expect(trip(codec, text)).toBe(text));

  it('texts that look like encoded ones', () => {
    const looks = ['', 'e1:', 'e1:k1:AAAA', sealed(TEXT), 'z1:', 'z1:AAAA', zipped(TEXT)];
    for (const look of looks.flatMap((text) => [text, text + 'a'.repeat(3_000)]))
      for (const text of [look, JSON.stringify({ a: look })]) expect(trip(codec, text)).toBe(text);
  });
});

describe('aesGcmCodec: the format', () => {
  it('property: reads what the documented layout says, and the other way round', () => {
    const opened = (stored: string, place: string) => {
      const bytes = bytesOf(stored);
      const decipher = createDecipheriv('aes-256-gcm', KEY, bytes.subarray(0, 12));
      decipher.setAAD(Buffer.from(JSON.stringify(['e1', 'k1', place]))).setAuthTag(bytes.subarray(-16));
      return decipher.update(bytes.subarray(12, -16), undefined, 'utf8') + decipher.final('utf8');
    };
    const reads = (text: string, place: string) => aes.decode(sealed(text, place), place) === text;
    const writes = (text: string, place: string) => opened(aes.encode(text, place), place) === text;
    fc.assert(fc.property(fc.json(), places, (text, place) => reads(text, place) && writes(text, place)));
    expect(aes.encode(TEXT, PLACE)).toMatch(/^e1:k1:[\w-]{82}$/);
    const fixed = 'AAECAwQFBgcICQoLAnG3rqIoQTbf9ziFx_hYAe1Bw2C_GbhnNhkyCfsfhn25WJ0LPgTTCgEAyfv5E_rm5g';
    expect(aes.decode(`e1:k1:${fixed}`, PLACE)).toBe(TEXT);
  });

  it('equal texts look different each time, in all of the iv', () => {
    const ivs = Array.from({ length: 2_000 }, () => bytesOf(aes.encode(TEXT, PLACE)).subarray(0, 12));
    expect(new Set(ivs.map((iv) => iv.toString('hex'))).size).toBe(ivs.length);
    for (let at = 0; at < 12; at += 1) expect(new Set(ivs.map((iv) => iv[at])).size).toBeGreaterThan(200);
  });

  it('takes keys as bytes, hex, base64 and base64url, and copies them', () => {
    const part = Buffer.concat([KEY_2, KEY, KEY_2]).subarray(32, 64);
    const texts = [HEX, HEX.toUpperCase(), KEY.toString('base64'), KEY.toString('base64url')];
    const codecs = [new Uint8Array(KEY), part, ...texts].map((key) => aesGcmCodec(keyed(key)));
    part.fill(0);
    for (const codec of codecs) expect(codec.decode(sealed(TEXT), PLACE)).toBe(TEXT);
  });

  it.each(['k', `A-z_${'9'.repeat(28)}`, '__proto__', 'constructor'])('takes the key id %s', (id) => {
    expect(trip(aesGcmCodec(keyed(KEY, id)), TEXT)).toBe(TEXT);
    expect(refusal(aes, sealed(TEXT, PLACE, id))).toMatchObject({ details: { keyId: id } });
  });
});

describe('aesGcmCodec refuses', () => {
  it('property: a text at another place, also one that UTF-8 can not tell apart', () => {
    const refused = (place: string, at: string) => refusal(aes, aes.encode(TEXT, place), at) !== null;
    fc.assert(fc.property(places, places, (place, at) => place === at || refused(place, at)));
    expect(refused('task \ud800', 'task \ud801')).toBe(true);
  });

  it('property: one bit changed anywhere in the stored text, or in iv, ciphertext and tag', () => {
    const refused = (text: string, where: number, bit: number) => {
      const stored = aes.encode(text, PLACE);
      const inText = flipped(Buffer.from(stored), where, bit).toString('latin1');
      const inBytes = `e1:k1:${flipped(bytesOf(stored), where, bit).toString('base64url')}`;
      return accepted(aes, [inText, inBytes]).length === 0;
    };
    fc.assert(fc.property(fc.json(), fc.nat(), fc.nat(7), refused), { numRuns: 2_000 });
  });

  it('a text that was cut off, has more behind it, or is another spelling of the same bytes', () => {
    const stored = aes.encode(TEXT.repeat(20), PLACE);
    const longer = ['A', '=', '==', ' ', '\n', '\0', '!', 'AAAA'].map((more) => stored + more);
    const bodies = ['', ':AAAA', 'k1', 'k1:', 'k 1:AAAA', `${'k'.repeat(33)}:AAAA`, 'k1:\u{1f600}'];
    const prefixed = [...bodies, `k1:${bytesOf(stored).toString('base64')}`].map((body) => `e1:${body}`);
    expect(accepted(lenient, [...cutsOf(stored).slice(3), ...longer, ...prefixed])).toEqual([]);
    expect(accepted(aes, cutsOf(stored))).toEqual([]);
  });

  it.each([TEXT, 'null', '', 'e2:k1:AAAA', 'z1:AAAA'])('plain text, unless told otherwise: %s', (text) => {
    expect(refusal(aes, text)?.message).toContain('Set "acceptPlainText"');
    expect(lenient.decode(text, PLACE)).toBe(text);
  });

  it('another key, id or version; of an unknown id it says which it is and what to do', () => {
    const both = aesGcmCodec({ keys: { k1: KEY, k2: KEY_2 }, currentKeyId: 'k2' });
    const twins = aesGcmCodec({ keys: { k1: KEY, k2: KEY }, currentKeyId: 'k1' });
    const other = aesGcmCodec(keyed(KEY_2)).encode(TEXT, PLACE);
    expect(accepted(aes, [other, sealed(TEXT, PLACE, 'k1', 'e2')])).toEqual([]);
    expect(refusal(twins, sealed(TEXT).replace('k1', 'k2'))).toMatchObject({ details: { keyId: 'k2' } });
    const unknown = both.encode(TEXT, PLACE);
    expect(unknown).toMatch(/^e1:k2:/);
    expect([unknown, sealed(TEXT)].map((stored) => both.decode(stored, PLACE))).toEqual([TEXT, TEXT]);
    expect(refusal(aes, unknown)).toMatchObject({
      retryable: false,
      details: { keyId: 'k2' },
      message: expect.stringContaining(`${PLACE}: it needs the key "k2", unknown here. Add it to "keys"`),
    });
  });
});

/** Which spellings of the halves of the keys and of the payload can be found in what a value shows. */
function leaks(value: unknown): string[] {
  const shown = JSON.stringify(value) + inspect(value, { depth: 20, showHidden: true });
  const halves = [KEY, KEY_2, Buffer.from(TEXT)].flatMap((all) => [all.subarray(0, 15), all.subarray(15)]);
  const spellings = halves.flatMap((half) => {
    const [hex, latin1] = [half.toString('hex'), half.toString('latin1')];
    const [base64, url] = [half.toString('base64').slice(0, 18), half.toString('base64url').slice(0, 18)];
    return [hex, hex.toUpperCase(), latin1, base64, url, inspect(half).slice(8, 50)];
  });
  return spellings.filter((secret) => shown.includes(secret));
}

describe('no secret gets out', () => {
  const stored = aes.encode(TEXT, PLACE);
  it.each<[string, PayloadCodec, string]>([
    ['changed', aes, `${stored.slice(0, -4)}AAAA`],
    ['cut off', aes, stored.slice(0, 30)],
    ['plain', aes, TEXT],
    ['with a payload for a key id', aes, `e1:${TEXT.slice(15)}:AAAA`],
    ['with nothing but a secret', aes, `e1:${HEX.slice(0, 30)}A`],
    ['of another key', aesGcmCodec(keyed(KEY_2)), stored],
    ['of an unknown key', aesGcmCodec(keyed(KEY_2, 'k2')), stored],
    ['compressed, and damaged', zip, `${zipped(TEXT.repeat(10)).slice(0, -6)}AAAA`],
    ['compressed, and no text', zip, zipped(Buffer.concat([Buffer.from(TEXT), Buffer.of(0xff)]))],
  ])('by the error for a text %s', (_what, codec, text) => {
    const error = refusal(codec, text);
    expect(error?.message.startsWith(`${PLACE}: `)).toBe(true);
    expect([error?.cause, leaks(error)]).toEqual([undefined, []]);
  });

  it('by the codec itself', () => {
    expect([aes, aesGcmCodec(keyed(HEX)), chainCodecs(zip, aes)].flatMap(leaks)).toEqual([]);
    for (const shows of [KEY, HEX, { TEXT }]) expect(leaks(shows)).not.toEqual([]);
  });
});

describe('gzipCodec', () => {
  it.each(['a', 'é', '€', '😀'])('compresses above the threshold in bytes of UTF-8: %s', (character) => {
    const [text, aboveBytes] = [character.repeat(500), Buffer.byteLength(character) * 500];
    expect(gzipCodec({ aboveBytes }).encode(text, PLACE)).toBe(text);
    expect(gzipCodec({ aboveBytes: aboveBytes - 1 }).encode(text, PLACE)).toMatch(/^z1:[\w-]+$/);
  });

  it('has a threshold of 1024 bytes unless told otherwise, and levels', () => {
    expect(gzipCodec().encode('1'.repeat(1_024), PLACE)).toBe('1'.repeat(1_024));
    expect(gzipCodec().encode('1'.repeat(1_025), PLACE)).toMatch(/^z1:/);
    const text = JSON.stringify(Array.from({ length: 5_000 }, (_, i) => ({ id: i * 7, name: i % 97 })));
    const lengthAt = (level: number) => gzipCodec({ level }).encode(text, PLACE).length;
    expect(lengthAt(9)).toBeLessThan(lengthAt(1));
  });

  it('property: what it stores is never longer; what does not shrink stays as it is', () => {
    const stored = (text: string) => gzipCodec({ aboveBytes: 0 }).encode(text, PLACE);
    const gains = (text: string) => Buffer.byteLength(stored(text)) < Buffer.byteLength(text);
    fc.assert(fc.property(fc.json(), (text) => stored(text) === text || gains(text)));
    const random = JSON.stringify(randomBytes(30_000).toString('base64url'));
    expect(stored(random)).toBe(random);
  });

  it('refuses bombs, soon, and never writes what it would not read', () => {
    const most = 'a'.repeat(8 * MIB);
    expect(zip.decode(zipped(most), PLACE)).toBe(most);
    expect(zip.encode(most, PLACE)).toMatch(/^z1:/);
    expect(zip.encode(`${most}a`, PLACE)).toBe(`${most}a`);
    expect(thrownBy(() => zip.encode(`z1:${most}`, PLACE))).toMatchObject({ code: 'CODEC_FAILED' });
    const many = Buffer.concat(Array.from({ length: 20 }, () => gzipSync(Buffer.alloc(MIB))));
    const bombs = [zipped(`${most}a`), zipped(Buffer.alloc(256 * MIB)), `z1:${many.toString('base64url')}`];
    const startMs = performance.now();
    for (const bomb of bombs) expect(refusal(zip, bomb)).toMatchObject({ details: { maxBytes: 8 * MIB } });
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  it('property: one changed bit is refused, or does no harm', () => {
    const text = Array.from({ length: 100 }, (_, i) => `line ${i}`).join();
    const harmless = (where: number, bit: number) => {
      const stored = `z1:${flipped(gzipSync(text), where, bit).toString('base64url')}`;
      return refusal(zip, stored) !== null || zip.decode(stored, PLACE) === text;
    };
    fc.assert(fc.property(fc.nat(), fc.nat(7), harmless), { numRuns: 1_000 });
  });

  it('refuses what was cut off, and what is no base64url, no gzip or no UTF-8', () => {
    const stored = zipped(TEXT.repeat(10));
    const bad = [`${stored}=`, `${stored} `, `z1: ${stored.slice(3)}`, 'z1:AAAA', zipped(Buffer.of(0xff))];
    expect(accepted(zip, [...cutsOf(stored).slice(3), ...bad])).toEqual([]);
    for (const codec of [zip, aes]) expect(() => trip(codec, '\ud800'.repeat(99))).toThrow(/lone surrogate/);
  });
});

describe('chainCodecs', () => {
  it('encodes in order and decodes in reverse, each with the place', () => {
    const tag = (name: string): PayloadCodec => ({
      encode: (text, place) => `${name}(${text}@${place})`,
      decode: (stored, place) => `${name}[${stored}@${place}]`,
    });
    const codec = chainCodecs(tag('a'), tag('b'));
    expect([codec.encode('1', 'p'), codec.decode('1', 'p')]).toEqual(['b(a(1@p)@p)', 'a[b[1@p]@p]']);
  });

  it('compresses before it encrypts, and reads each older form', () => {
    const [text, codec] = ['abcd'.repeat(2_000), chainCodecs(zip, lenient)];
    expect(codec.encode(text, PLACE)).toMatch(/^e1:k1:.{50,200}$/);
    const all = [chainCodecs(), zip, aes, codec].map((older) => older.encode(text, PLACE));
    expect(all.map((stored) => codec.decode(stored, PLACE))).toEqual([text, text, text, text]);
  });
});

describe('bad options are refused, all in one message that shows no key', () => {
  const noCurrent = '"currentKeyId" must be the id of one of the keys';
  const base64 = [31, 33].map((n) => Buffer.alloc(n, KEY).toString('base64'));
  const texts = [`${HEX}00`, HEX.slice(2), `g${HEX.slice(1)}`, `${HEX}\n`, ...base64, `${'A'.repeat(42)}B=`];
  const bytes = [KEY.subarray(1), Buffer.alloc(33, KEY), new Uint16Array(16), undefined, 5];
  const noKeys = [{}, [KEY], new Map([['k1', KEY]]), KEY, HEX];
  const ids = ['', 'k'.repeat(33), 'k:1', 'k1\n', HEX];

  it.each<[(...options: never) => unknown, string, readonly unknown[]]>([
    [aesGcmCodec, '"keys" is required; "currentKeyId" is required', [null, undefined, HEX]],
    [aesGcmCodec, '"currentKeyId" is required', [{ keys: { k1: KEY } }, KEY]],
    [aesGcmCodec, '"keys" must be an object', noKeys.map((keys) => ({ keys }))],
    [aesGcmCodec, noCurrent, ['k2', 'toString', 1, HEX].map((id) => ({ ...keyed(KEY), currentKeyId: id }))],
    [aesGcmCodec, '"k1" must be 32 bytes', [...bytes, ...texts].map((k1) => ({ keys: { k1 } }))],
    [aesGcmCodec, 'the id of key number 1 must', ids.map((id) => keyed(KEY, id))],
    [aesGcmCodec, 'in hex or base64, the id of key number 2', [{ keys: { k1: '', [HEX]: 1 } }]],
    [aesGcmCodec, `${noCurrent}; "acceptPlainText" must`, [{ currentKeyId: 1, acceptPlainText: 1 }]],
    [gzipCodec, 'must be an object', [null, 1]],
    [gzipCodec, '9007199254740991; "level" must be a whole', [{ aboveBytes: -1, level: 10 }]],
    [gzipCodec, 'from 1 to 9; "above" is no option', [{ level: 0, above: 1 }]],
    [chainCodecs, '[0] must be an object with encode(), decode()', [null, {}, 'z', { encode: () => '' }]],
  ])('%o: %s', (make, message, bad) => {
    const errors = bad.map((options) => thrownBy(() => Reflect.apply(make, undefined, [options])));
    expect(errors.filter((error) => !isRecoveryError(error, 'INVALID_OPTION'))).toEqual([]);
    expect(errors.map(String).filter((text) => !text.includes(message))).toEqual([]);
    expect(errors.flatMap(leaks)).toEqual([]);
  });
});
