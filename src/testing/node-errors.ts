/** Errors as they come out of Node 20 and later, common drivers and careless code: names, codes, fields and causes. */
import type * as FastCheck from 'fast-check';

type Fc = Omit<typeof FastCheck, 'default'>;
type Make<T> = FastCheck.Arbitrary<T>;

/** Number and words of libuv, as on Linux. */
const FILE_CODES = [
  ['ENOENT', -2, 'no such file or directory', 'open'],
  ['EACCES', -13, 'permission denied', 'open'],
  ['EPERM', -1, 'operation not permitted', 'unlink'],
  ['EISDIR', -21, 'illegal operation on a directory', 'read'],
  ['ENOTDIR', -20, 'not a directory', 'scandir'],
  ['ENOSPC', -28, 'no space left on device', 'write'],
  ['EMFILE', -24, 'too many open files', 'open'],
  ['EROFS', -30, 'read-only file system', 'mkdir'],
] as const;
const NETWORK_CODES = [
  ['ECONNREFUSED', -111, 'connect'],
  ['ECONNRESET', -104, 'read'],
  ['ETIMEDOUT', -110, 'connect'],
  ['EPIPE', -32, 'write'],
  ['EHOSTUNREACH', -113, 'connect'],
] as const;
const DNS_CODES = [
  ['ENOTFOUND', -3008],
  ['EAI_AGAIN', -3001],
] as const;
const DRIVER_CODES = [
  ['23505', 'duplicate key value violates unique constraint "orders_pkey"'],
  ['40P01', 'deadlock detected'],
  ['57P01', 'terminating connection due to administrator command'],
  ['SQLITE_BUSY', 'database is locked'],
  ['ERR_MODULE_NOT_FOUND', "Cannot find package 'pdf-parse' imported from /app/worker.mjs"],
  ['ERR_INVALID_ARG_TYPE', 'The "path" argument must be of type string. Received undefined'],
  ['UND_ERR_HEADERS_TIMEOUT', 'Headers Timeout Error'],
] as const;

function coded(message: string, fields: Readonly<Record<string, unknown>>): Error {
  return Object.assign(new Error(message), fields);
}

function systemErrors(fc: Fc, path: Make<string>): Make<Error>[] {
  const address = fc.ipV4();
  const port = fc.integer({ min: 1, max: 65_535 });
  return [
    fc
      .tuple(fc.constantFrom(...FILE_CODES), path)
      .map(([[code, errno, words, syscall], file]) =>
        coded(`${code}: ${words}, ${syscall} '${file}'`, { errno, code, syscall, path: file }),
      ),
    fc
      .tuple(fc.constantFrom(...NETWORK_CODES), address, port)
      .map(([[code, errno, syscall], host, at]) =>
        syscall === 'connect'
          ? coded(`${syscall} ${code} ${host}:${at}`, { errno, code, syscall, address: host, port: at })
          : coded(`${syscall} ${code}`, { errno, code, syscall }),
      ),
    fc
      .tuple(fc.constantFrom(...DNS_CODES), fc.domain())
      .map(([[code, errno], hostname]) =>
        coded(`getaddrinfo ${code} ${hostname}`, { errno, code, syscall: 'getaddrinfo', hostname }),
      ),
  ];
}

/** What `JSON.parse` says to a text. */
function parseError(text: string): Error {
  try {
    JSON.parse(`{"a": ${text}`);
  } catch (error) {
    if (error instanceof Error) return error;
  }
  return new SyntaxError('Unexpected end of JSON input');
}

function thrownByCode(fc: Fc, text: Make<string>): Make<Error>[] {
  const property = fc.constantFrom('id', 'pages', 'length', 'then');
  return [
    text.map((message) => new Error(message)),
    text.map(parseError),
    property.map((name) => new TypeError(`Cannot read properties of undefined (reading '${name}')`)),
    fc.integer().map((length) => new RangeError(`Invalid array length: ${length}`)),
    fc.constantFrom(...DRIVER_CODES).map(([code, message]) => coded(message, { code })),
    fc.constant(null).map(() => new DOMException('The operation was aborted due to timeout', 'TimeoutError')),
    fc.constant(null).map(() => new DOMException('This operation was aborted', 'AbortError')),
  ];
}

/** Kinds of errors, for `fc.oneof`; each draw makes a new one. */
export function nodeErrors(fc: Fc, path: Make<string>, text: Make<string>): Make<Error>[] {
  const system = systemErrors(fc, path);
  const plain = [...thrownByCode(fc, text), ...system];
  const some = fc.oneof(...system);
  return [
    ...plain,
    some.map((cause) => new TypeError('fetch failed', { cause })),
    fc
      .array(some, { minLength: 1, maxLength: 3 })
      .map((errors) => Object.assign(new AggregateError(errors, ''), { code: 'ECONNREFUSED' })),
  ];
}
