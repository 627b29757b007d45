/** What kind of failure an error is, told from the three texts that are kept of it. Causes are not walked. */

/**
 * What a failure is about, by what would mend it: `import` the deployment, `memory` smaller pieces or a larger
 * machine, `timeout` patience, `file_not_found` the input, `permission` rights, `network` the other side of a wire.
 */
export type ErrorCategory =
  'import' | 'memory' | 'timeout' | 'file_not_found' | 'permission' | 'network' | 'other';

/** What is known of an error, as it is stored. The facts of its cause are facts of their own. */
export interface ErrorFacts {
  readonly name: string;
  readonly message: string;
  /** As text, numbers too: `'ENOENT'`, `'23'`. Null without one. */
  readonly code: string | null;
}

/** Characters of a message that are looked at: a reason stands at its beginning, data at its end. */
const JUDGED = 2_048;

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/**
 * Codes of Node, libuv, c-ares, undici, SQLite, PostgreSQL, MySQL, AWS and of this library. A category of several
 * readings is the one that says what to do:
 * - ETIMEDOUT is a timeout although it is about a socket, and so is a wait for a lock (SQLITE_BUSY).
 * - ERR_MODULE_NOT_FOUND is an import although a file is missing; ENOENT of a spawned command is a missing file.
 * - A file system or a database that may only be read is a permission.
 * - A certificate that is not trusted is network: no connection came about. So is a port in use.
 * - Out of descriptors (EMFILE) or disk (ENOSPC) is none of these: `other`.
 */
const CODES: Readonly<Record<Exclude<ErrorCategory, 'other'>, readonly string[]>> = {
  import: words(`
    MODULE_NOT_FOUND ERR_MODULE_NOT_FOUND ERR_PACKAGE_PATH_NOT_EXPORTED ERR_PACKAGE_IMPORT_NOT_DEFINED
    ERR_INVALID_MODULE_SPECIFIER ERR_INVALID_PACKAGE_CONFIG ERR_INVALID_PACKAGE_TARGET ERR_UNSUPPORTED_DIR_IMPORT
    ERR_UNSUPPORTED_ESM_URL_SCHEME ERR_UNKNOWN_FILE_EXTENSION ERR_UNKNOWN_MODULE_FORMAT ERR_UNKNOWN_BUILTIN_MODULE
    ERR_REQUIRE_ESM ERR_REQUIRE_ASYNC_MODULE ERR_IMPORT_ATTRIBUTE_MISSING ERR_IMPORT_ASSERTION_TYPE_MISSING
    ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX ERR_DLOPEN_FAILED DRIVER_MISSING`),
  memory: words(`
    ENOMEM ENOBUFS ERR_WORKER_OUT_OF_MEMORY ERR_MEMORY_ALLOCATION_FAILED ERR_BUFFER_TOO_LARGE ERR_STRING_TOO_LONG
    ERR_FS_FILE_TOO_LARGE ERR_CHILD_PROCESS_STDIO_MAXBUFFER Z_MEM_ERROR SQLITE_NOMEM SQLITE_TOOBIG 53200
    ER_OUTOFMEMORY ER_OUT_OF_SORTMEMORY`),
  timeout: words(`
    ETIMEDOUT ESOCKETTIMEDOUT ETIMEOUT ETIME ERR_SOCKET_CONNECTION_TIMEOUT ERR_HTTP_REQUEST_TIMEOUT
    ERR_SCRIPT_EXECUTION_TIMEOUT UND_ERR_CONNECT_TIMEOUT UND_ERR_HEADERS_TIMEOUT UND_ERR_BODY_TIMEOUT SQLITE_BUSY
    SQLITE_LOCKED 55P03 25P03 ER_LOCK_WAIT_TIMEOUT ER_QUERY_TIMEOUT PROTOCOL_SEQUENCE_TIMEOUT TASK_TIMED_OUT
    RECOVERY_TIMEOUT`),
  file_not_found: words('ENOENT ENOTDIR SQLITE_CANTOPEN NoSuchKey NoSuchBucket'),
  permission: words(`
    EACCES EPERM EROFS EAUTH ERR_ACCESS_DENIED SQLITE_AUTH SQLITE_PERM SQLITE_READONLY 28000 28P01 42501
    ER_ACCESS_DENIED_ERROR ER_DBACCESS_DENIED_ERROR ER_TABLEACCESS_DENIED_ERROR AccessDenied AccessDeniedException
    ExpiredToken STORAGE_READONLY`),
  network: words(`
    ECONNREFUSED ECONNRESET EPIPE ENOTFOUND EHOSTUNREACH EHOSTDOWN ENETUNREACH ENETDOWN ENETRESET ENOTCONN ENONET
    EPROTO EADDRINUSE EADDRNOTAVAIL EAI_AGAIN EAI_FAIL EAI_NODATA EAI_NONAME ESERVFAIL EREFUSED ENODATA EBADRESP
    ERR_NETWORK ERR_STREAM_PREMATURE_CLOSE ERR_SOCKET_CLOSED ERR_SOCKET_CLOSED_BEFORE_CONNECTION
    ERR_TLS_CERT_ALTNAME_INVALID CERT_HAS_EXPIRED DEPTH_ZERO_SELF_SIGNED_CERT SELF_SIGNED_CERT_IN_CHAIN
    UNABLE_TO_VERIFY_LEAF_SIGNATURE UND_ERR_SOCKET UND_ERR_CLOSED UND_ERR_DESTROYED 08000 08001 08003 08004 08006
    53300 57P01 57P02 57P03 ER_CON_COUNT_ERROR PROTOCOL_CONNECTION_LOST STORAGE_UNAVAILABLE`),
};

const BY_CODE: ReadonlyMap<string, ErrorCategory> = new Map(
  (['import', 'memory', 'timeout', 'file_not_found', 'permission', 'network'] as const).flatMap((category) =>
    CODES[category].map((code) => [code, category] as const),
  ),
);

/** Families of codes. SQLite's extended codes, such as SQLITE_READONLY_DBMOVED, follow the code they extend. */
const CODE_FAMILIES: readonly (readonly [RegExp, ErrorCategory])[] = [
  [/^(?:ERR_(?:SSL|HTTP2)_|HPE_)/, 'network'],
  // What the program itself got wrong: its message quotes what it was given, and proves nothing.
  [/^ERR_(?:ASSERTION|OUT_OF_RANGE|INVALID_(?:ARG_TYPE|ARG_VALUE|URL|RETURN_VALUE|STATE|THIS))$/, 'other'],
];

/** An answer of a server: 504 is a timeout; 401 a permission; any other 5xx is network; 404 and 429 are `other`. */
function categoryOfStatus(status: number): ErrorCategory {
  if (status === 408 || status === 504 || status === 524) return 'timeout';
  if (status === 401 || status === 403 || status === 407) return 'permission';
  // The other side failed. That a 404 is answered means that all is well but the question.
  return status >= 500 ? 'network' : 'other';
}

function byCode(code: string): ErrorCategory | null {
  const known = BY_CODE.get(code) ?? BY_CODE.get(/^SQLITE_[A-Z]+/.exec(code)?.[0] ?? '');
  if (known !== undefined) return known;
  // Some clients put the status there. No exit code, signal or DOMException has a number that high.
  if (/^[45]\d\d$/.test(code)) return categoryOfStatus(Number(code));
  return CODE_FAMILIES.find(([family]) => family.test(code))?.[1] ?? null;
}

/** Names that say it all, the first that fits. AbortError does not: a caller's cancel has it, and a timeout may. */
const NAMES: readonly (readonly [RegExp, ErrorCategory])[] = [
  [/time(?:d)?out(?:error|exception)?$/i, 'timeout'],
  [/^(?:NoSuchKey|NoSuchBucket)$/, 'file_not_found'],
  [/^(?:AccessDenied|Unauthorized|Forbidden|.*Authentication)(?:Error|Exception)?$/, 'permission'],
  [/AccessDeniedError$/, 'permission'],
  // Only its server selection: an error of a server's answer is MongoServerError.
  [/^MaxRetriesPerRequestError$|^MongoServerSelectionError$/, 'network'],
  [/(?:Network|ConnectionRefused|HostNotFound|HostNotReachable)Error$/, 'network'],
];

/** Texts of V8, Node and common clients, the first that fits: a timeout of a connection is a timeout. */
const MESSAGES: readonly (readonly [RegExp, ErrorCategory])[] = [
  [/does not provide an export named|outside a module|\bin ES module scope/, 'import'],
  [
    /\b(?:cannot find|could not resolve|can't resolve|failed to (?:load|resolve)) (?:module|package)\b/i,
    'import',
  ],
  // A negative length is a bug, and says "Invalid array length"; only a text can be too long for V8.
  [/out of memory|allocation failed|cannot allocate memory|could not allocate memory|heap limit/i, 'memory'],
  [/^Invalid string length$|^(?:Map|Set) maximum size exceeded$|^OOM command not allowed/, 'memory'],
  [/\btimed[ -]out\b|\bdue to (?:[a-z]+ )*timeout\b|\bdeadline[ _]exceeded\b/i, 'timeout'],
  [
    /\btimeout (?:of|after|exceeded|expired|error|reached)\b|\b(?:exceeded|over) (?:the )?time limit\b/i,
    'timeout',
  ],
  [/\bdatabase (?:table )?is locked\b/, 'timeout'],
  [/^(?:NOAUTH|WRONGPASS|NOPERM|READONLY) /, 'permission'],
  [/\b(?:permission|access)(?: is| was)? denied\b|\bnot permitted\b|\bnot authorized\b/i, 'permission'],
  [/\bauthentication failed\b|^unauthorized\b|^forbidden\b/i, 'permission'],
  [/^(?:CLUSTERDOWN|MASTERDOWN|LOADING|TRYAGAIN) /, 'network'],
  [/socket hang up|^fetch failed$|^terminated$|other side closed|premature close|network error/i, 'network'],
  [
    /\bconnection (?:is |was )?(?:closed|lost|refused|reset|terminated|ended)\b|socket disconnected/i,
    'network',
  ],
  [/^Stream isn't writeable/, 'network'],
  [/\bno such file\b|\bfile not found\b|\bunable to open (?:[a-z]+ )*database\b/i, 'file_not_found'],
];

const CODE_WORD = /\b(?:E[A-Z]{3,}|EAI_[A-Z]+|(?:UND_)?ERR_[A-Z0-9_]+|SQLITE_[A-Z_]+)\b/g;
const STATUS =
  /\b(?:status(?: ?code)?|response code|HTTP(?:\/[\d.]{1,3})?)(?: error)?[ :=(]{1,3}([45]\d\d)\b/i;
/** `503 Service Unavailable`, at the beginning or after a colon; `503 rows` counts something. */
const STATUS_LINE = /(?:^|: )([45]\d\d) [A-Z]/;

function byMessage(message: string): ErrorCategory | null {
  // Errors that were wrapped keep the code of the one inside in their text.
  for (const [word] of message.matchAll(CODE_WORD)) {
    const found = byCode(word);
    if (found !== null) return found;
  }
  const status = STATUS.exec(message) ?? STATUS_LINE.exec(message);
  if (status !== null) return categoryOfStatus(Number(status[1]));
  return MESSAGES.find(([pattern]) => pattern.test(message))?.[1] ?? null;
}

/** A text that does not parse quotes data, which may say anything; only a module that does not link counts. */
function ofSyntaxError(message: string): ErrorCategory {
  return /does not provide an export named|outside a module|^Unexpected token 'export'$/.test(message)
    ? 'import'
    : 'other';
}

/**
 * The category of an error: its code decides, then its name, then its message (the first 2,048 characters). It never
 * throws. An answer 404 is `other`: no file was asked for; a stack overflow too: more memory would not mend it; and a
 * cancel without a word of time.
 *
 * @example
 * categoryOf({ name: 'Error', message: 'connect ETIMEDOUT 10.0.0.7:5432', code: 'ETIMEDOUT' }); // 'timeout'
 * categoryOf({ name: 'AxiosError', message: 'Request failed with status code 503', code: 'ERR_BAD_RESPONSE' }); // 'network'
 */
export function categoryOf({ name, message, code }: ErrorFacts): ErrorCategory {
  const text = message.slice(0, JUDGED);
  const found = code === null ? null : byCode(code);
  // axios calls its timeouts so, the kernel a connection that was given up.
  if (code === 'ECONNABORTED') return byMessage(text.replaceAll(code, '')) ?? 'network';
  if (found !== null) return found;
  if (name === 'SyntaxError') return ofSyntaxError(text);
  const named = NAMES.find(([pattern]) => pattern.test(name.slice(0, 256)));
  return named?.[1] ?? byMessage(text) ?? 'other';
}
