/** What a route is, and what it is asked with. */
import type * as z from 'zod';
import type { Followers } from './followers.js';
import type { Recovery } from '../../index.js';
import type { HttpSettings, MetricsText } from './options.js';
import type { SharedReads } from './shared-reads.js';

/** A request that has come through to its route. */
export interface Asked {
  readonly recovery: Recovery;
  readonly settings: HttpSettings;
  readonly followers: Followers;
  readonly reads: SharedReads;
  readonly metricsText: () => Promise<MetricsText>;
  readonly request: Request;
  readonly query: URLSearchParams;
  /** What stands for `{taskId}` in the path; empty without one. */
  readonly taskId: string;
}

/** One route, with what the OpenAPI document says of it. */
export interface Route {
  readonly method: 'GET' | 'POST';
  /** As in OpenAPI: `/recovery/tasks/{taskId}`. */
  readonly path: string;
  readonly summary: string;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** By status; null for what is no JSON. */
  readonly answers: Readonly<Record<number, z.ZodType | null>>;
  /** What it answers if that is no JSON. */
  readonly type?: string;
  readonly answer: (asked: Asked) => Promise<Response>;
}

/** Under this path nothing is answered before `authorize` was asked. */
const ADMIN_ROOT = '/recovery';

export function isAdmin(pathname: string): boolean {
  return pathname === ADMIN_ROOT || pathname.startsWith(`${ADMIN_ROOT}/`);
}

/** Null when the path is another one; else what stands for its `{taskId}`, still encoded. */
export function matched({ path }: Pick<Route, 'path'>, pathname: string): { readonly taskId: string } | null {
  const wanted = path.split('/');
  const given = pathname.split('/');
  if (wanted.length !== given.length) return null;
  let taskId = '';
  for (const [at, part] of wanted.entries()) {
    const found = given[at] ?? '';
    if (part === '{taskId}' && found !== '') taskId = found;
    else if (part !== found) return null;
  }
  return { taskId };
}
