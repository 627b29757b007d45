/** Puts failures of one reason into one group: what differs between two of them is taken out, the rest is hashed. */
import { createHash } from 'node:crypto';
import type { ErrorFacts } from './error-category.js';
import { normalizedMessage } from './normalize-message.js';
import { plainRun, VALUE } from './normalize-words.js';

export { MAX_NORMALIZED_LENGTH, normalizedMessage } from './normalize-message.js';

/** Names, codes and frames are short; what is longer is cut. */
const LONGEST_PART = 256;
/** Characters of a stack that are read, from its first frame on: over a hundred frames. */
const READ = 16_384;
const FINGERPRINT_LENGTH = 16;

/** What is hashed of a failure. */
export interface FingerprintParts extends ErrorFacts {
  /** From {@link topUserFrame}; null to group by what the error says alone. */
  readonly frame: string | null;
}

/** Where the library lies when that can be told; installed, it lies in node_modules, which is left out anyway. */
function libraryFolder(): string | null {
  const [folder] = /^.*\/(?=src\/domain\/)|^.*\/rekindle\/dist\//.exec(import.meta.url) ?? [];
  if (folder === undefined) return null;
  return folder.endsWith('/dist/') ? folder : `${folder}src/`;
}

const LIBRARY = libraryFolder();

/** Where a frame is: the file, without line and column. Code that was evaluated is where its evaluator is. */
function fileOf(location: string): string {
  // "eval at inner (eval at outer (/a/b.js:1:2), <anonymous>:1:1), <anonymous>:1:1"
  const evaluated = /^eval at [^]*\(([^()]*)\)/.exec(location)?.[1] ?? location;
  return evaluated.replace(/(?::\d+){1,2}$/, '').replace(/[?#].*$/, '');
}

function isUsers(file: string, library: string | null): boolean {
  // `<anonymous>`, `native` and `index 0` are no files.
  if (!/[/\\.]/.test(file) || file.startsWith('node:')) return false;
  if (/[/\\]node_modules[/\\]/.test(file)) return false;
  const path = library?.replace(/^file:\/\//, '') ?? null;
  return path === null || !file.replace(/^file:\/\//, '').startsWith(path);
}

/** A file's name without folders and without the hash that a bundler gave it. */
function baseName(file: string): string {
  const name = file.slice(Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1);
  // Of base64 or base32, 8 to 32 characters; a word of small letters is a word.
  const bare = name.replace(
    /([.-])(?=[\w-]*[A-Z\d])[\w-]{8,32}(?=\.[cm]?[jt]sx?$)/,
    (_hash, sign: string) => sign + VALUE,
  );
  return bare.split('.').map(plainRun).join('.');
}

/** A function's name without how it was called: `async`, aliases, and the name of the module object. */
function functionOf(called: string): string {
  const name = called
    .replace(/^async /, '')
    .replace(/ \[as [^\]]*\]$/, '')
    .replace(/^(?:Object|Module|exports)\./, '');
  return name === '' || name === 'eval' ? '<anonymous>' : name;
}

function frameOf(line: string, library: string | null): string | null {
  const text = line.slice('at '.length);
  // The first parenthesis opens the location: names hold none, paths may.
  const opening = text.endsWith(')') ? text.indexOf(' (') : -1;
  const [called, location] =
    opening === -1
      ? ['', text.replace(/^async /, '')]
      : [text.slice(0, opening), text.slice(opening + 2, -1)];
  const file = fileOf(location);
  if (!isUsers(file, library)) return null;
  return `${functionOf(called)} @ ${baseName(file)}`.slice(0, LONGEST_PART).toWellFormed();
}

/**
 * The user's function that an error came from: the first frame that is neither Node's, nor in node_modules, nor the
 * library's. It reads `function @ file`, without folders, lines, columns and a bundler's hashes, so that a rebuild or
 * another host changes nothing. Null when there is none. A message that itself has lines of a stack is not told from
 * the stack.
 * @param library the URL of the library's folder, with a slash at its end; null to leave out none
 *
 * @example
 * topUserFrame(error.stack); // 'readRow @ import.js'
 */
export function topUserFrame(stack: string | undefined, library: string | null = LIBRARY): string | null {
  if (stack === undefined) return null;
  const first = stack.indexOf('\n    at ');
  if (first === -1) return null;
  for (const line of stack.slice(first, first + READ).split('\n')) {
    const text = line.trim();
    const frame = text.startsWith('at ') ? frameOf(text, library) : null;
    if (frame !== null) return frame;
  }
  return null;
}

/**
 * A short name for the reason of a failure: 16 characters of base64url, the same for each failure of that reason. It
 * is made of the name, the code, the {@link normalizedMessage} and the frame, and does not depend on the host, the
 * time or the process. A version of the library that normalises messages differently gives other fingerprints: keep
 * them for as long as failures are, not as keys for ever.
 *
 * @example
 * const { name, message } = error;
 * fingerprintOf({ name, message, code: null, frame: topUserFrame(error.stack) }); // 'Qm3vZ0h2sJ8kX1dA'
 */
export function fingerprintOf({ name, message, code, frame }: FingerprintParts): string {
  const parts = [
    name.slice(0, LONGEST_PART),
    code?.slice(0, LONGEST_PART) ?? null,
    normalizedMessage(message),
    frame?.slice(0, LONGEST_PART) ?? null,
  ];
  const hash = createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
  return hash.slice(0, FINGERPRINT_LENGTH);
}
