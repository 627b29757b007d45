/**
 * How payloads look at rest: encrypted, compressed, or both. A codec turns JSON text into the text that is
 * stored and back. What comes back is the text that went in, or `CODEC_FAILED`; no error holds a payload or a key.
 */
import { isUtf8 } from 'node:buffer';
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { types } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { RecoveryError } from '../errors.js';
import {
  type Check,
  checkOptions,
  hasMethods,
  isBoolean,
  isObject,
  listOf,
  number,
} from './check-options.js';

/**
 * Turns a payload into the text that is stored, and back. Both are synchronous and called for each read and write.
 *
 * @example
 * const shout: PayloadCodec = { encode: (text) => `!${text}`, decode: (stored) => stored.slice(1) };
 */
export interface PayloadCodec {
  /**
   * The text to store for `text`, which is JSON text in well-formed UTF-16.
   * @param place Names the record the payload belongs to, such as `rekindle task-7 input`.
   */
  encode(text: string, place: string): string;
  /**
   * The text that {@link encode} was given. Must throw when it can't tell which it was.
   * @param place The one it was encoded with; an encryption refuses any other.
   */
  decode(stored: string, place: string): string;
}

/** Options of {@link aesGcmCodec}. */
export interface AesGcmOptions {
  /**
   * The keys by their ids. An id has 1 to 32 characters of `A-Z a-z 0-9 _ -` and is stored in the clear. A key has
   * 32 random bytes, as such or as a text: 64 hex digits, or base64 in either alphabet. They are copied.
   */
  readonly keys: Readonly<Record<string, Uint8Array | string>>;
  /** The id of the key that encrypts. The others only decrypt. */
  readonly currentKeyId: string;
  /**
   * Whether a stored text that is not encrypted is taken as it is, to switch encryption on over old records. While
   * it is on, whoever can write to the storage can plant such a text. Default false.
   */
  readonly acceptPlainText?: boolean;
}

/** Options of {@link gzipCodec}. */
export interface GzipOptions {
  /** Texts of up to this many bytes of UTF-8 are stored as they are. Default 1024. */
  readonly aboveBytes?: number;
  /** From 1, the fastest, to 9, the smallest. Default 6, that of zlib. */
  readonly level?: number;
}

const SEALED = 'e1';
const SEALED_PREFIX = `${SEALED}:`;
const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID = /^[\w-]{1,32}$/;
const HEX_KEY = /^[\da-f]{64}$/i;
// The last digit of 32 bytes carries four bits: most passphrases of this length are told from a key by it.
const BASE64_KEY = /^[\w+/-]{42}[AEIMQUYcgkosw048]=?$/;

const ZIPPED_PREFIX = 'z1:';
/** No text over it is compressed, and none decompressed: a bomb of some kilobytes could fill the memory. */
const MAX_TEXT_BYTES = 8 * 1024 * 1024;

// Without a cause: errors of what runs underneath are not ours to vouch for.
function failed(place: string, problem: string, details: Readonly<Record<string, unknown>> = {}): never {
  throw new RecoveryError('CODEC_FAILED', `${place}: ${problem}`, { details });
}

function bytesOf(text: string, place: string): Buffer {
  // UTF-8 would turn a lone surrogate into another character, silently. JSON text escapes them.
  if (!text.isWellFormed()) failed(place, 'the text holds a lone surrogate, so it is no JSON text.');
  return Buffer.from(text);
}

/** The bytes of base64url as this module writes it, or null: Node skips what it can't read, and unused bits. */
function fromBase64Url(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : null;
}

function keyBytes(key: unknown): Uint8Array | null {
  if (types.isUint8Array(key)) return key.length === KEY_BYTES ? key : null;
  if (typeof key !== 'string') return null;
  if (HEX_KEY.test(key)) return Buffer.from(key, 'hex');
  return BASE64_KEY.test(key) ? Buffer.from(key, 'base64') : null;
}

const areKeys: Check = (value) => {
  if (!isObject(value) || ArrayBuffer.isView(value) || Object.keys(value).length === 0)
    return 'must be an object with at least one key';
  const problems = Object.entries(value).flatMap(([id, key], index) => {
    const idIsValid = KEY_ID.test(id);
    // A bad id is not repeated: it may be a key in the wrong place.
    const name = idIsValid ? `the key "${id}"` : `key number ${index + 1}`;
    const found = idIsValid ? [] : [`the id of ${name} must have 1 to 32 characters of A-Z a-z 0-9 _ -`];
    return keyBytes(key) !== null
      ? found
      : [...found, `${name} must be ${KEY_BYTES} bytes, or a text of them in hex or base64`];
  });
  return problems.length === 0 ? null : `is refused: ${problems.join(', ')}`;
};

function checkAesGcm(options: AesGcmOptions): void {
  const keys: unknown = isObject(options) ? options.keys : undefined;
  // Not repeated either, for the same reason.
  const isCurrent: Check = (id) =>
    typeof id === 'string' && (!isObject(keys) || Object.hasOwn(keys, id))
      ? null
      : 'must be the id of one of the keys';
  const checks = { keys: areKeys, currentKeyId: isCurrent, acceptPlainText: isBoolean };
  checkOptions('aesGcmCodec', options, checks, ['keys', 'currentKeyId']);
}

/** What a ciphertext is bound to. JSON keeps the parts apart, whatever they hold. */
function boundTo(keyId: string, place: string): Buffer {
  return Buffer.from(JSON.stringify([SEALED, keyId, place]));
}

function seal(key: KeyObject, bound: Buffer, text: Buffer): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES }).setAAD(bound);
  return Buffer.concat([iv, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

/** The text, or null when anything about it is not as it was sealed. */
function unseal(key: KeyObject, bound: Buffer, sealed: Buffer): string | null {
  if (sealed.length < IV_BYTES + TAG_BYTES) return null;
  const end = sealed.length - TAG_BYTES;
  const iv = sealed.subarray(0, IV_BYTES);
  const decipher = createDecipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES }).setAAD(bound);
  decipher.setAuthTag(sealed.subarray(end));
  const text = decipher.update(sealed.subarray(IV_BYTES, end));
  try {
    decipher.final();
  } catch {
    return null;
  }
  return text.toString();
}

/**
 * Encrypts payloads with AES-256-GCM. A stored text that was changed, that belongs to another record, or whose key
 * is another one, is refused. Its length can be seen, and an older text of the same record is taken for the newest.
 *
 * Stored is `e1:<key id>:<base64url of iv, ciphertext and tag>`, with a random IV of 12 bytes and a tag of 16 bytes
 * over the ciphertext and, as additional data, `JSON.stringify(['e1', keyId, place])` in UTF-8.
 *
 * To rotate, add a key to all processes first, then make it the current one, and keep the old one while records of
 * it are left. Rotate in time: with random IVs one key must not encrypt more than 2^32 texts (NIST SP 800-38D,
 * 8.3), which takes 50 days at 1,000 a second.
 *
 * @throws `INVALID_OPTION`; its methods throw `CODEC_FAILED`, which no retry helps
 * @example
 * const codec = aesGcmCodec({
 *   keys: { '2026-01': oldKey, '2026-07': newKey }, // each made by: openssl rand -base64 32
 *   currentKeyId: '2026-07',
 * });
 */
export function aesGcmCodec(options: AesGcmOptions): PayloadCodec {
  checkAesGcm(options);
  const { currentKeyId, acceptPlainText = false } = options;
  const keys = new Map<string, KeyObject>();
  for (const [id, key] of Object.entries(options.keys)) {
    const bytes = keyBytes(key);
    if (bytes !== null) keys.set(id, createSecretKey(bytes));
  }
  const keyOf = (keyId: string, place: string): KeyObject => {
    const advice = 'Add it to "keys" and keep it there while records of it are left.';
    return (
      keys.get(keyId) ?? failed(place, `it needs the key "${keyId}", unknown here. ${advice}`, { keyId })
    );
  };
  return {
    encode: (text, place) => {
      const bound = boundTo(currentKeyId, place);
      const sealed = seal(keyOf(currentKeyId, place), bound, bytesOf(text, place));
      return `${SEALED_PREFIX}${currentKeyId}:${sealed.toString('base64url')}`;
    },
    decode: (stored, place) => {
      if (!stored.startsWith(SEALED_PREFIX)) {
        if (acceptPlainText) return stored;
        failed(place, 'it is not encrypted. Set "acceptPlainText" while records from before are left.');
      }
      const keyEnd = stored.indexOf(':', SEALED_PREFIX.length);
      const keyId = stored.slice(SEALED_PREFIX.length, keyEnd);
      if (keyEnd < 0 || !KEY_ID.test(keyId)) failed(place, 'it names no key; something else wrote it.');
      const key = keyOf(keyId, place);
      const sealed = fromBase64Url(stored.slice(keyEnd + 1));
      const text = sealed === null ? null : unseal(key, boundTo(keyId, place), sealed);
      if (text !== null) return text;
      const causes = 'it was changed, or belongs to another record, or another key has this id';
      return failed(place, `the key "${keyId}" does not open it: ${causes}.`, { keyId });
    },
  };
}

function unzip(zipped: Buffer, place: string): Buffer {
  try {
    return gunzipSync(zipped, { maxOutputLength: MAX_TEXT_BYTES });
  } catch (error) {
    if (error instanceof RangeError)
      failed(place, `it decompresses to over ${MAX_TEXT_BYTES} bytes.`, { maxBytes: MAX_TEXT_BYTES });
    return failed(place, 'its compressed text is damaged.');
  }
}

/**
 * Compresses payloads that are long enough to gain by it, and stores the others as they are.
 *
 * Stored is `z1:<base64url of gzip>` when that is shorter than the text. JSON text can't begin with `z`, so records
 * from before need no option. It is gzip and not raw deflate for its checksum: 18 bytes buy that damage is refused
 * rather than read as another text. Texts over 8 MiB are stored as they are, and decompression stops there.
 *
 * @throws `INVALID_OPTION`; its methods throw `CODEC_FAILED`, which no retry helps
 * @example
 * const codec = gzipCodec({ aboveBytes: 4096 });
 */
export function gzipCodec(options: GzipOptions = {}): PayloadCodec {
  const checks = { aboveBytes: number(0, Number.MAX_SAFE_INTEGER), level: number(1, 9) };
  checkOptions('gzipCodec', options, checks, []);
  const { aboveBytes = 1024, level = 6 } = options;
  return {
    encode: (text, place) => {
      // In a chain the text may be one that was compressed already: it must not be taken for our own.
      const ambiguous = text.startsWith(ZIPPED_PREFIX);
      if (!ambiguous && text.length * 3 <= aboveBytes) return text;
      const bytes = bytesOf(text, place);
      if (!ambiguous && (bytes.length <= aboveBytes || bytes.length > MAX_TEXT_BYTES)) return text;
      if (bytes.length > MAX_TEXT_BYTES) {
        const problem = `it is compressed already, and over ${MAX_TEXT_BYTES} bytes.`;
        failed(place, problem, { maxBytes: MAX_TEXT_BYTES });
      }
      const stored = ZIPPED_PREFIX + gzipSync(bytes, { level }).toString('base64url');
      return ambiguous || stored.length < bytes.length ? stored : text;
    },
    decode: (stored, place) => {
      if (!stored.startsWith(ZIPPED_PREFIX)) return stored;
      const zipped = fromBase64Url(stored.slice(ZIPPED_PREFIX.length));
      const bytes = zipped === null ? null : unzip(zipped, place);
      return bytes !== null && isUtf8(bytes)
        ? bytes.toString()
        : failed(place, 'its compressed text is damaged.');
    },
  };
}

/**
 * One codec of several: encodes in the order given, decodes in reverse. Compress before you encrypt, as ciphertext
 * doesn't shrink; but then lengths tell whether texts repeat each other, so don't compress payloads that mix secrets
 * with what an attacker can choose (as in CRIME).
 *
 * @throws `INVALID_OPTION`
 * @example
 * const codec = chainCodecs(gzipCodec(), aesGcmCodec({ keys, currentKeyId }));
 */
export function chainCodecs(...codecs: readonly PayloadCodec[]): PayloadCodec {
  checkOptions('chainCodecs', { codecs }, { codecs: listOf(hasMethods('encode', 'decode')) }, []);
  return {
    encode: (text, place) => codecs.reduce((inner, codec) => codec.encode(inner, place), text),
    decode: (stored, place) => codecs.reduceRight((inner, codec) => codec.decode(inner, place), stored),
  };
}
