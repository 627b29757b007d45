/** Errors of the language, of JSON, crypto, zlib, and of libraries that check values. */
import assert from 'node:assert/strict';
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  randomBytes,
  randomUUID,
  timingSafeEqual,
} from 'node:crypto';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { runInThisContext } from 'node:vm';
import * as fc from 'fast-check';
import { z } from 'zod';
import { checkId } from '../../src/domain/ids.js';
import { toJsonText } from '../../src/domain/json.js';
import { runningError } from '../../src/runtime/task-errors.js';
import { entry } from './error-corpus-entry.js';
import type { CorpusEntry } from './error-corpus-entry.js';

const json = (text: string) => (): unknown => JSON.parse(text);
/** Code in a text, for what a compiler would refuse. */
const run = (code: string) => (): unknown => runInThisContext(code);

function deep(n: number): number {
  return deep(n + 1) + 1;
}

function decrypt(tampered: boolean): unknown {
  const [key, iv] = [randomBytes(32), randomBytes(12)];
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  const data = Buffer.concat([cipher.update('secret'), cipher.final()]);
  const decipher = createDecipheriv('aes-256-gcm', key, iv);
  decipher.setAuthTag(tampered ? randomBytes(16) : cipher.getAuthTag());
  return Buffer.concat([decipher.update(data), decipher.final()]);
}

function badPadding(): unknown {
  for (;;) {
    const decipher = createDecipheriv('aes-256-cbc', randomBytes(32), randomBytes(16));
    // One in 256 random blocks has a fine padding.
    decipher.update(randomBytes(32));
    decipher.final();
  }
}

const parsing = [
  entry('JSON: a word', 'other', (round) => json(`hello ${'abc'.slice(0, round)} ${randomUUID()}`)()),
  entry('JSON: cut off', 'other', (round) => json(`{"a":[${round},`)()),
  entry('JSON: HTML', 'other', (round) => json(`<!DOCTYPE html><p>${round}`)()),
  entry('JSON: no comma', 'other', (round) => json(`{"a":${10 ** round} "b"}`)()),
  entry('JSON: bare key', 'other', (round) => json(`${' '.repeat(round)}{name: 1}`)()),
  entry('JSON: more than one', 'other', (round) => json(`${10 ** round} 2`)()),
  entry('JSON: control character', 'other', (round) => json(`"${'a'.repeat(round)}\n"`)()),
  entry('JSON: cycle', 'other', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    return JSON.stringify(cycle);
  }),
  entry('URL', 'other', (round) => new URL(`http://${'x'.repeat(round)} y`)),
  entry('URI', 'other', (round) => decodeURIComponent(`${'a'.repeat(round)}%`)),
  entry('RegExp', 'other', () => new RegExp('['.concat())),
  entry('gzip: not one', 'other', () => gunzipSync(Buffer.from(`plain ${randomUUID()}`))),
  entry('gzip: cut off', 'other', (round) => gunzipSync(gzipSync(randomBytes(200)).subarray(0, 40 + round))),
  entry('crypto: digest', 'other', () => createHash('no-such-digest')),
  entry('crypto: tampered', 'other', () => decrypt(true)),
  entry('crypto: padding', 'other', badPadding),
  entry('crypto: key', 'other', () => createPrivateKey(`-----BEGIN PRIVATE KEY-----\n${randomUUID()}\n`)),
  entry('crypto: lengths', 'other', (round) => timingSafeEqual(randomBytes(round), randomBytes(9))),
];

const values = [
  entry('property of undefined', 'other', run('undefined.rows')),
  entry('property of null', 'other', run('null.rows')),
  entry('another property of undefined', 'other', run('undefined.columns')),
  entry('no function', 'other', run('({}).load()')),
  entry('not defined', 'other', run('rowz + 1')),
  entry('not iterable', 'other', run('{ const [first] = 5 }')),
  entry('constant', 'other', run('{ const row = 1; row = 2 }')),
  entry('no constructor', 'other', run('new (() => 1)()')),
  entry('BigInt mixed', 'other', (round) => run(`${round}n + 1`)()),
  entry('BigInt of a fraction', 'other', (round) => BigInt(round + 0.5)),
  entry('stack overflow', 'other', deep),
  entry('array length', 'other', (round) => Reflect.construct(Array, [-round])),
  entry('typed array length', 'other', (round) => new Uint8Array(-round)),
  entry('time value', 'other', () => new Date(Number.NaN).toISOString()),
  entry('digits', 'other', (round) => (1).toFixed(200 + round)),
  entry('clone', 'other', () => structuredClone(Symbol.iterator)),
  entry('argument type', 'other', (round) => Reflect.apply(join, null, [round])),
  entry('argument value', 'other', () => Buffer.alloc(4).fill(1).toString(Object('nope').concat(''))),
  entry('out of range', 'other', (round) => Buffer.alloc(4).readUInt32LE(10 * round)),
  entry('buffer size', 'other', (round) => Buffer.alloc(2 ** 53 - round)),
  entry('assert: equal', 'other', (round) => assert.equal(round, randomBytes(2).readUInt16LE() + 10)),
  entry('assert: own words', 'other', (round) => assert.fail(`the total of order ${round} timed out`)),
  entry('string length', 'memory', (round) => 'x'.repeat(2 ** 29 + round)),
  entry('string of a buffer', 'memory', (round) =>
    Buffer.from(new ArrayBuffer(2 ** 29 + round)).toString('utf8'),
  ),
  entry('array buffer', 'memory', (round) => new ArrayBuffer(2 ** 53 - round)),
  entry('fast-check', 'other', (round) => fc.assert(fc.property(fc.constant(round), () => false))),
  entry('zod', 'other', (round) => z.object({ total: z.number() }).parse({ total: `${round}` })),
  entry('own: braces', 'other', () => checkId('The task id', 'a{b')),
  entry('own: too long', 'other', (round) => checkId('The task id', 'x'.repeat(256 + round))),
  entry('own: too large', 'other', (round) =>
    toJsonText('x'.repeat(20 + round), { what: 'the input', maxBytes: 10 + round }),
  ),
  entry('own: elsewhere', 'other', () => runningError(`import:${randomUUID()}`, randomUUID())),
];

export function languageErrors(): readonly CorpusEntry[] {
  return [...parsing, ...values];
}
