/** What requests may hold: schemas of queries and bodies, and how they are read. */
import * as z from 'zod';
import type { RedriveFilter } from '../../domain/document-recovery.js';
import { TASK_STATUSES } from '../../domain/task.js';
import type { FailureListOptions, ListOptions } from '../../index.js';
import { LARGEST_PAGE } from './options.js';
import { Problem } from './problems.js';

/** A text that any storage can look for. */
const text = z
  .string()
  .min(1)
  .max(256)
  .refine((value) => value.isWellFormed(), 'holds a lone surrogate');
const cursor = z.string().min(1).max(16_384);
const limit = z.int().min(1).max(LARGEST_PAGE);
const ageMs = z
  .number()
  .min(0)
  .max(10 * 366 * 86_400_000);
const listed = z.array(text).min(1).max(1_000);

/** A query's type: what is absent is absent. */
type Query<T> = z.ZodType<T, T>;

export interface PageQuery {
  readonly limit?: number;
}

export const pageQuery: Query<PageQuery> = z.strictObject({ limit: limit.exactOptional() });

export const tasksQuery: Query<ListOptions> = z.strictObject({
  name: text.exactOptional(),
  status: z.enum(TASK_STATUSES).exactOptional(),
  after: cursor.exactOptional(),
  limit: limit.exactOptional(),
});

export const failuresQuery: Query<FailureListOptions> = z.strictObject({
  category: text.max(128).exactOptional(),
  fingerprint: text.exactOptional(),
  worker: text.exactOptional(),
  name: text.exactOptional(),
  minAgeMs: ageMs.exactOptional(),
  maxAgeMs: ageMs.exactOptional(),
  eligible: z.boolean().exactOptional(),
  after: cursor.exactOptional(),
  limit: limit.exactOptional(),
});

export interface EventsQuery {
  readonly after?: string;
}

export const eventsQuery: Query<EventsQuery> = z.strictObject({ after: cursor.exactOptional() });

/** What to recover: all that is due, unless it says. */
export interface TriggerBody {
  readonly names?: string[];
  readonly taskIds?: string[];
  /** Whether failed documents that are due are retried too. */
  readonly documents?: boolean;
}

export const triggerBody: Query<TriggerBody> = z.strictObject({
  names: listed.exactOptional(),
  taskIds: listed.exactOptional(),
  documents: z.boolean().exactOptional(),
});

export interface CancelBody {
  readonly reason?: string;
}

export const cancelBody: Query<CancelBody> = z.strictObject({
  reason: z
    .string()
    .max(1_000)
    .refine((value) => value.isWellFormed(), 'holds a lone surrogate')
    .exactOptional(),
});

/** For what takes nothing. */
export const emptyBody: Query<Record<string, never>> = z.strictObject({});

export const redriveBody: Query<RedriveFilter> = z
  .strictObject({
    fingerprint: text.exactOptional(),
    category: text.max(128).exactOptional(),
    afterVersion: text.exactOptional(),
  })
  .refine((filter) => Object.keys(filter).length > 0, 'name a fingerprint, a category or an afterVersion');

function checked<T>(schema: Query<T>, value: unknown, code: 'QUERY_INVALID' | 'BODY_INVALID'): T {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  // Paths and reasons of what the caller has sent, never a value.
  const said = error.issues.map(({ path, message }) => [path.map(String).join('.'), message]);
  const problems = said.map((parts) => parts.filter((part) => part !== '').join(': '));
  throw new Problem(400, code, `${problems.slice(0, 10).join('; ').slice(0, 1_000)}.`);
}

const NUMBERS = new Set(['limit', 'minAgeMs', 'maxAgeMs']);
const BOOLEANS = new Map([
  ['true', true],
  ['false', false],
]);

/** Of a text that is none, the text: the schema then says what is wrong with it. */
function valueOf(name: string, given: string): string | number | boolean {
  if (NUMBERS.has(name)) return /^\d{1,15}(\.\d{1,6})?$/.test(given) ? Number(given) : given;
  return name === 'eligible' ? (BOOLEANS.get(given) ?? given) : given;
}

/** @throws {Problem} 400 */
export function queryOf<T>(params: URLSearchParams, schema: Query<T>): T {
  const given = new Map<string, string | number | boolean>();
  for (const [name, value] of params) {
    if (given.has(name)) throw new Problem(400, 'QUERY_INVALID', 'A parameter is given twice.');
    given.set(name, valueOf(name, value));
  }
  return checked(schema, Object.fromEntries(given), 'QUERY_INVALID');
}

const JSON_TYPE = /^application\/json\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?;?$/i;

function tooLarge(limit: number): Problem {
  return new Problem(413, 'BODY_TOO_LARGE', `A body may have ${limit} bytes at most.`);
}

async function bytesOf(request: Request, limit: number): Promise<Uint8Array> {
  if (Number(request.headers.get('content-length')) > limit) throw tooLarge(limit);
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
    size += part.value.byteLength;
    if (size > limit) {
      reader?.cancel().catch(() => {});
      throw tooLarge(limit);
    }
    parts.push(part.value);
  }
  return Buffer.concat(parts);
}

/**
 * The body of a request; one without any counts as `{}`.
 * @throws {Problem} 400, 413, 415
 */
export async function bodyOf<T>(request: Request, limit: number, schema: Query<T>): Promise<T> {
  const type = request.headers.get('content-type');
  const encoding = request.headers.get('content-encoding') ?? 'identity';
  if ((type !== null && !JSON_TYPE.test(type.trim())) || encoding.toLowerCase() !== 'identity')
    throw new Problem(415, 'UNSUPPORTED_MEDIA_TYPE', 'A body must be application/json, as it is.');
  const bytes = await bytesOf(request, limit);
  if (bytes.byteLength === 0) return checked(schema, {}, 'BODY_INVALID');
  if (type === null) throw new Problem(415, 'UNSUPPORTED_MEDIA_TYPE', 'Say that it is application/json.');
  return checked(schema, parsed(bytes), 'BODY_INVALID');
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new Problem(400, 'BODY_INVALID', 'The body is not JSON in UTF-8.');
  }
}
