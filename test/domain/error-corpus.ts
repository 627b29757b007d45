/**
 * Real errors, each made at least twice with other ids, paths and ports: what a group has to hold together, and what
 * it has to keep apart. Errors of database clients that are not installed are typed in, from their documentation.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { ErrorCategory } from '../../src/domain/error-category.js';
import { entry, errorLike } from './error-corpus-entry.js';
import type { CorpusEntry } from './error-corpus-entry.js';
import { hostErrors } from './error-corpus-host.js';
import { languageErrors } from './error-corpus-language.js';
import { storeErrors } from './error-corpus-stores.js';
import { wireErrors } from './error-corpus-wire.js';

const oid = (): string => randomBytes(12).toString('hex');
const host = (round: number): string => `10.0.${round}.${randomBytes(1)[0] ?? 0}`;

const typed = (
  reason: string,
  category: ErrorCategory,
  name: string,
  code: string | number | undefined,
  message: (round: number) => string,
): CorpusEntry => entry(reason, category, (round) => errorLike(name, message(round), code), 'typed');

const postgres = [
  typed(
    'pg: unique violation',
    'other',
    'error',
    '23505',
    () => 'duplicate key value violates unique constraint "users_email_key"',
  ),
  typed('pg: no table', 'other', 'error', '42P01', () => 'relation "invoices" does not exist'),
  typed(
    'pg: bad integer',
    'other',
    'error',
    '22P02',
    () => `invalid input syntax for type integer: "${randomUUID()} x"`,
  ),
  typed(
    'pg: password',
    'permission',
    'error',
    '28P01',
    () => 'password authentication failed for user "app"',
  ),
  typed('pg: no right', 'permission', 'error', '42501', () => 'permission denied for table users'),
  typed(
    'pg: statement timeout',
    'timeout',
    'error',
    '57014',
    () => 'canceling statement due to statement timeout',
  ),
  typed('pg: lock timeout', 'timeout', 'error', '55P03', () => 'canceling statement due to lock timeout'),
  typed('pg: deadlock', 'other', 'error', '40P01', () => 'deadlock detected'),
  typed('pg: lost', 'network', 'Error', undefined, () => 'Connection terminated unexpectedly'),
  typed('pg: pool', 'timeout', 'Error', undefined, () => 'timeout exceeded when trying to connect'),
  typed(
    'pg: shutdown',
    'network',
    'error',
    '57P01',
    () => 'terminating connection due to administrator command',
  ),
];

const mysql = [
  typed(
    'mysql: duplicate',
    'other',
    'Error',
    'ER_DUP_ENTRY',
    (round) => `Duplicate entry 'user${round}@example.com' for key 'users.email'`,
  ),
  typed(
    'mysql: lock',
    'timeout',
    'Error',
    'ER_LOCK_WAIT_TIMEOUT',
    () => 'Lock wait timeout exceeded; try restarting transaction',
  ),
  typed(
    'mysql: denied',
    'permission',
    'Error',
    'ER_ACCESS_DENIED_ERROR',
    (round) => `Access denied for user 'app'@'${host(round)}' (using password: YES)`,
  ),
  typed(
    'mysql: lost',
    'network',
    'Error',
    'PROTOCOL_CONNECTION_LOST',
    () => 'Connection lost: The server closed the connection.',
  ),
  typed('mysql: too many', 'network', 'Error', 'ER_CON_COUNT_ERROR', () => 'Too many connections'),
];

const mongo = [
  typed(
    'mongo: duplicate',
    'other',
    'MongoServerError',
    11000,
    (round) =>
      `E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: "u${round}@x.org", tenant: "${oid()}" }`,
  ),
  typed(
    'mongo: selection',
    'network',
    'MongoServerSelectionError',
    undefined,
    (round) => `connect ECONNREFUSED ${host(round)}:27017`,
  ),
  typed(
    'mongo: network timeout',
    'timeout',
    'MongoNetworkTimeoutError',
    undefined,
    (round) => `connection ${round} to ${host(round)}:27017 timed out`,
  ),
  typed(
    'mongo: unauthorized',
    'permission',
    'MongoServerError',
    13,
    () => 'not authorized on shop to execute command',
  ),
  typed('mongo: time limit', 'timeout', 'MongoServerError', 50, () => 'operation exceeded time limit'),
  typed(
    'mongo: cast',
    'other',
    'BSONError',
    undefined,
    () => 'input must be a 24 character hex string, 12 byte Uint8Array, or an integer',
  ),
];

const others = [
  typed(
    'axios: timeout',
    'timeout',
    'AxiosError',
    'ECONNABORTED',
    (round) => `timeout of ${round * 1000}ms exceeded`,
  ),
  typed('axios: aborted', 'network', 'AxiosError', 'ECONNABORTED', () => 'Request aborted'),
  typed('axios: network', 'network', 'AxiosError', 'ERR_NETWORK', () => 'Network Error'),
  typed('s3: no key', 'file_not_found', 'NoSuchKey', undefined, () => 'The specified key does not exist.'),
  typed('s3: denied', 'permission', 'AccessDenied', undefined, () => 'Access Denied'),
  typed(
    'grpc: deadline',
    'timeout',
    'Error',
    4,
    (round) => `4 DEADLINE_EXCEEDED: Deadline exceeded after ${round}.2${round}s`,
  ),
  typed(
    'playwright: timeout',
    'timeout',
    'TimeoutError',
    undefined,
    (round) => `page.goto: Timeout ${round}0000ms exceeded.`,
  ),
  typed('V8: Map is full', 'memory', 'RangeError', undefined, () => 'Map maximum size exceeded'),
];

/** All there is. Call `close` when done: servers and a folder are behind them. */
export async function openCorpus(): Promise<{
  readonly entries: readonly CorpusEntry[];
  readonly close: () => Promise<void>;
}> {
  const parts = await Promise.all([hostErrors(), wireErrors(), storeErrors()]);
  const own = [languageErrors(), postgres, mysql, mongo, others].flat();
  return {
    entries: [...parts.flatMap(({ entries }) => entries), ...own],
    close: async () => void (await Promise.all(parts.map(({ close }) => close()))),
  };
}
