/** What the library stores for its users is JSON text. What JSON cannot hold is refused, with its path, before a write. */
import { RecoveryError } from '../errors.js';

/** Deeper values are refused: walking them would overflow the stack of some engine sooner or later. */
export const MAX_DEPTH = 2_000;

type Trail = (string | number)[];

function pathOf(trail: Trail): string {
  return trail.reduce<string>((path, part) => {
    if (typeof part === 'number') return `${path}[${part}]`;
    return /^[A-Za-z_$][\w$]*$/.test(part) ? `${path}.${part}` : `${path}[${JSON.stringify(part)}]`;
  }, '$');
}

function refuse(what: string, trail: Trail, found: string, advice: string): never {
  const path = pathOf(trail);
  throw new RecoveryError('NOT_JSON', `${what}: ${path} is ${found}, which JSON cannot hold. ${advice}`, {
    details: { path },
  });
}

/** What is kept while a value is walked through. */
interface Walk {
  readonly what: string;
  readonly maxBytes: number;
  readonly open: Set<object>;
  /** How many characters its text has at the least. */
  characters: number;
}

function tooLarge({ what, maxBytes }: TextLimit, bytes: number | null): RecoveryError {
  const size = bytes === null ? 'is' : `has ${bytes} bytes,`;
  return new RecoveryError(
    'PAYLOAD_TOO_LARGE',
    `${what} ${size} over the limit of ${maxBytes} bytes. Store the data elsewhere and keep its key here.`,
    { details: { ...(bytes === null ? {} : { bytes }), maxBytes } },
  );
}

function walkObject(state: Walk, value: object, trail: Trail): void {
  const { what, open } = state;
  if (open.has(value)) refuse(what, trail, 'part of a cycle', 'Store ids instead of references.');
  if (trail.length > MAX_DEPTH) refuse(what, [], `nested over ${MAX_DEPTH} levels deep`, 'Flatten it.');
  open.add(value);
  if (Array.isArray(value)) {
    if ('toJSON' in value) refuse(what, trail, 'a list with toJSON', 'Convert it to plain data first.');
    for (let i = 0; i < value.length; i += 1) {
      trail.push(i);
      walk(state, value[i], trail, false);
      trail.pop();
    }
  } else {
    const prototype: unknown = Object.getPrototypeOf(value);
    // A plain object's prototype is the end of the chain, that of another realm (vm, test runners) too.
    if ((prototype !== null && Object.getPrototypeOf(prototype) !== null) || 'toJSON' in value) {
      const kind = value.constructor?.name ?? 'object';
      refuse(what, trail, `an instance of ${kind}`, 'Convert it to plain data first.');
    }
    if (Object.getOwnPropertySymbols(value).length > 0) {
      refuse(what, trail, 'an object with symbol keys', 'Use text keys.');
    }
    for (const [key, member] of Object.entries(value)) {
      trail.push(key);
      walk(state, member, trail, true);
      trail.pop();
    }
  }
  open.delete(value);
}

function walk(state: Walk, value: unknown, trail: Trail, inObject: boolean): void {
  const { what } = state;
  // Lists of lists of the same lists grow by powers: their text may be one that no engine can hold.
  if (value !== undefined) state.characters += typeof value === 'string' ? value.length : 1;
  if (state.characters > state.maxBytes) throw tooLarge(state, null);
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return;
    case 'number':
      if (Number.isFinite(value)) return;
      return refuse(what, trail, String(value), 'Use null, or a text.');
    case 'undefined':
      // A property that is undefined is dropped, as everywhere in JavaScript; elsewhere it would turn into null.
      if (inObject) return;
      return refuse(what, trail, 'undefined', 'Use null.');
    case 'object':
      if (value !== null) walkObject(state, value, trail);
      return;
    case 'bigint':
      return refuse(what, trail, 'a BigInt', 'Use a text.');
    default:
      return refuse(what, trail, `a ${typeof value}`, 'Leave it out.');
  }
}

/** What bounds a stored text. */
export interface TextLimit {
  /** How the value is called in messages, such as `the input of "import"`. */
  readonly what: string;
  readonly maxBytes: number;
}

/** Refuses a text over its bound in bytes of UTF-8. @throws `PAYLOAD_TOO_LARGE` */
export function checkSize(text: string, { what, maxBytes }: TextLimit): void {
  if (text.length * 3 <= maxBytes) return;
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxBytes) return;
  throw tooLarge({ what, maxBytes }, bytes);
}

/** The JSON text of `value`. @throws `NOT_JSON` with the path of the offending value, `PAYLOAD_TOO_LARGE` */
export function toJsonText(value: unknown, limit: TextLimit): string {
  if (value === null) return 'null';
  // A text holds nothing to refuse but its length.
  if (typeof value !== 'string') walk({ ...limit, open: new Set(), characters: 0 }, value, [], false);
  else if (value.length > limit.maxBytes) throw tooLarge(limit, null);
  const text = JSON.stringify(value);
  checkSize(text, limit);
  return text;
}

/** The value of a stored text. @throws `CORRUPT_RECORD` */
export function fromJsonText(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RecoveryError(
      'CORRUPT_RECORD',
      `${what} is not JSON any more; something else wrote to the storage.`,
      {
        cause,
      },
    );
  }
}
