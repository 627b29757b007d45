/** From a request to its answer: who may ask, which route it is, and what goes wrong on the way. */
import { kindOf, RecoveryError } from '../../errors.js';
import { log } from '../../log.js';
import type { Recovery } from '../../index.js';
import { ACT_ROUTES } from './act-routes.js';
import { withoutBody } from './answers.js';
import { EVENTS_ROUTE } from './event-stream.js';
import { Followers } from './followers.js';
import { HEALTH_ROUTES, METRICS_ROUTE } from './health-routes.js';
import { LOOK_ROUTES } from './look-routes.js';
import { metricsTextOf } from './metrics-text.js';
import { httpSettingsOf } from './options.js';
import type { HttpOptions, HttpSettings } from './options.js';
import { forbidden, notFound, Problem, problemAnswer } from './problems.js';
import { isAdmin, matched } from './route.js';
import type { Route } from './route.js';
import { SharedReads } from './shared-reads.js';

/** Answers requests. Never rejects. */
export interface HttpHandler {
  /** @param native the framework's own request, for `authorize` */
  (request: Request, native?: unknown): Promise<Response>;
  /** Whether a path is one of the handler's; any other one is answered 404. Everything under `/recovery` is, where there is an `authorize`. */
  readonly handles: (pathname: string) => boolean;
}

const ADMIN_ROUTES: readonly Route[] = [...LOOK_ROUTES, ...ACT_ROUTES, EVENTS_ROUTE];
/** All that there can be. */
export const ALL_ROUTES: readonly Route[] = [...HEALTH_ROUTES, METRICS_ROUTE, ...ADMIN_ROUTES];

function routesFor({ authorize, prometheus }: HttpSettings): readonly Route[] {
  return [
    ...HEALTH_ROUTES,
    ...(prometheus === false ? [] : [METRICS_ROUTE]),
    ...(authorize === null ? [] : ADMIN_ROUTES),
  ];
}

async function isAllowed({ authorize }: HttpSettings, request: Request, native: unknown): Promise<boolean> {
  if (authorize === null) return false;
  try {
    return (await authorize(request, native)) === true;
  } catch (error) {
    log.http('authorize failed: %s', kindOf(error));
    return false;
  }
}

/** A page of another site must not press a button with its visitor's cookies. @throws {Problem} 403 */
function checkSite({ headers, url }: Request): void {
  const site = headers.get('sec-fetch-site');
  const origin = headers.get('origin');
  const own = headers.get('host') ?? new URL(url).host;
  const isOwn =
    site === null
      ? origin === null || hostOf(origin) === own.toLowerCase()
      : site === 'same-origin' || site === 'none';
  if (!isOwn) throw new Problem(403, 'CROSS_SITE', 'Requests from other sites are refused.');
}

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}

/** @throws {Problem} 400 */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Problem(400, 'INVALID_ID', 'The task id in the path is not encoded as UTF-8.');
  }
}

function allowHeader(routes: readonly Route[]): string {
  return [...new Set(routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))].join(
    ', ',
  );
}

/**
 * Makes a handler of HTTP requests: health for everybody, and what operators do for those whom `authorize` lets pass.
 * Serve it with {@link toNodeHandler}, or with anything that speaks `Request` and `Response`.
 *
 * @throws `INVALID_OPTION` naming every option that is unknown or ill-typed
 * @example
 * const handler = createHttpHandler(recovery, { authorize: (request) => isOperator(request.headers.get('authorization')) });
 * createServer(toNodeHandler(handler)).listen(9090);
 */
export function createHttpHandler(recovery: Recovery, options: HttpOptions = {}): HttpHandler {
  if (typeof recovery?.health !== 'function')
    throw new RecoveryError('INVALID_OPTION', 'createHttpHandler needs a Recovery first.');
  const settings = httpSettingsOf(options);
  const routes = routesFor(settings);
  const followers = new Followers(settings.maxFollowers);
  const reads = new SharedReads(recovery, settings);
  const metricsText = metricsTextOf(recovery, settings);
  const handles = (pathname: string): boolean =>
    (settings.authorize !== null && isAdmin(pathname)) ||
    routes.some((route) => matched(route, pathname) !== null);

  const routed = async (request: Request): Promise<Response> => {
    const { pathname, searchParams: query } = new URL(request.url);
    const here = routes.filter((route) => matched(route, pathname) !== null);
    if (here.length === 0) return notFound();
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const route = here.find((each) => each.method === method);
    if (route === undefined) {
      const headers = { allow: allowHeader(here) };
      throw new Problem(
        405,
        'METHOD_NOT_ALLOWED',
        'This path has other methods; see the header Allow.',
        headers,
      );
    }
    if (method === 'POST') checkSite(request);
    const taskId = decoded(matched(route, pathname)?.taskId ?? '');
    return route.answer({ recovery, settings, followers, reads, metricsText, request, query, taskId });
  };

  const answer = async (request: Request, native: unknown): Promise<Response> => {
    const { pathname } = new URL(request.url);
    if (!handles(pathname)) return notFound();
    // Before anything else: who may not ask learns nothing, not even what there is.
    if (isAdmin(pathname) && !(await isAllowed(settings, request, native))) return forbidden();
    return routed(request).catch(problemAnswer);
  };

  const handler = async (request: Request, native?: unknown): Promise<Response> => {
    const response = await answer(request, native).catch(problemAnswer);
    return request.method === 'HEAD' ? withoutBody(response) : response;
  };
  return Object.assign(handler, { handles });
}
