/** The handler for servers that speak node:http, express's and fastify's included. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { checkOptions, isObject } from '../../domain/check-options.js';
import { kindOf } from '../../errors.js';
import { log } from '../../log.js';
import type { HttpHandler } from './handler.js';
import { notFound, Problem } from './problems.js';

/** Options of `toNodeHandler`. */
export interface NodeHandlerOptions {
  /** The path that the routes are under, such as `/ops`. Express takes its own off by itself. Default: none. */
  readonly prefix?: string | undefined;
}

/** A framework's request around node's: fastify's. */
export interface WrappedRequest {
  readonly raw: IncomingMessage;
  readonly body?: unknown;
}

/** A framework's reply around node's: fastify's. */
export interface WrappedReply {
  readonly raw: ServerResponse;
  readonly hijack: () => unknown;
  readonly callNotFound?: () => unknown;
}

/** A listener of node:http, a middleware of express, a route of fastify. */
export type NodeHandler = (
  req: IncomingMessage | WrappedRequest,
  res: ServerResponse | WrappedReply,
  next?: (error?: unknown) => void,
) => void;

function isPrefix(value: unknown): string | null {
  const fits = typeof value === 'string' && /^(?:\/[\w.~-]+)*$/.test(value);
  return fits ? null : 'must be a path such as /ops, without a slash at its end';
}

/** The path as it was sent, also that of an absolute target; it differs from a parsed one that had dots or backslashes in it. */
function sentPath(target: string): string {
  const path = target.split('?', 1)[0] ?? '';
  return path.replace(/^https?:\/\/[^/\\]*/i, '');
}

/** Where it was sent, as far as it can be told. Null for what is no path of a web server. */
function urlOf({ url = '/', headers, socket }: IncomingMessage): URL | null {
  if (!url.startsWith('/')) return /^https?:\/\//i.test(url) && URL.canParse(url) ? new URL(url) : null;
  const scheme = 'encrypted' in socket ? 'https' : 'http';
  const host = /^[\w.:[\]-]+$/.test(headers.host ?? '') ? headers.host : 'localhost';
  const whole = `${scheme}://${host}${url}`;
  return new URL(URL.canParse(whole) ? whole : `${scheme}://localhost${url}`);
}

/**
 * Null when it is not under the prefix. Nor is a path that the parser has changed: a guard before us has seen another one
 * than we would answer.
 */
function ownUrl(req: IncomingMessage, prefix: string): URL | null {
  const url = urlOf(req);
  if (url === null || url.pathname !== sentPath(req.url ?? '/')) return null;
  if (!url.pathname.startsWith(`${prefix}/`)) return null;
  const own = new URL(url);
  own.pathname = url.pathname.slice(prefix.length);
  return own;
}

/** Read on demand, and left to the server when nobody wants it: to destroy it would cut the connection. */
function streamOf(req: IncomingMessage): ReadableStream<Uint8Array> {
  const parts: AsyncIterator<Buffer> = req.iterator({ destroyOnReturn: false });
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await parts.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => {
        await parts.return?.();
        // The rest is read past: the server does so by itself only for a body that nobody has begun to read.
        req.resume();
      },
    },
    { highWaterMark: 0 },
  );
}

type Body = Pick<RequestInit, 'body' | 'duplex'>;

/** What was sent, or what a parser before us has made of it. */
function bodyOf(req: IncomingMessage, parsed: unknown, headers: Headers): Body {
  if (!req.readableDidRead) return { body: streamOf(req), duplex: 'half' };
  // It is no longer what these tell of.
  headers.delete('content-encoding');
  headers.delete('content-length');
  if (parsed === undefined || parsed === null) return {};
  if (typeof parsed === 'string' || parsed instanceof Uint8Array) return { body: parsed };
  return { body: JSON.stringify(parsed) };
}

/** What a Request can't be made with. No route allows them, so that the answer is that to any other foreign method. */
const UNSPEAKABLE = new Set(['CONNECT', 'TRACE', 'TRACK']);

function requestOf(req: IncomingMessage, parsed: unknown, url: URL, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, values] of Object.entries(req.headersDistinct)) {
    // HTTP/2 has others that begin with a colon.
    if (!name.startsWith(':')) for (const value of values ?? []) headers.append(name, value);
  }
  const given = req.method ?? 'GET';
  const method = UNSPEAKABLE.has(given) ? 'OPTIONS' : given;
  const body = method === 'GET' || method === 'HEAD' ? {} : bodyOf(req, parsed, headers);
  return new Request(url, { method, headers, signal, ...body });
}

async function send(response: Response, res: ServerResponse): Promise<void> {
  if (res.headersSent || res.destroyed) return response.body?.cancel();
  res.statusCode = response.status;
  for (const [name, value] of response.headers) res.setHeader(name, value);
  if (response.body === null) return void res.end();
  res.flushHeaders();
  await pipeline(Readable.fromWeb(response.body), res);
}

/** A signal that aborts when the client goes before it has its answer. */
function goneSignal(res: ServerResponse): AbortSignal {
  const gone = new AbortController();
  res.once('close', () => {
    if (!res.writableFinished) gone.abort();
  });
  return gone.signal;
}

interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** What `authorize` is given; it holds the body where a parser has read it. */
  readonly native: unknown;
}

/** Sends an answer that needs no more of the request. */
function end(res: ServerResponse, answer: Response): void {
  send(answer, res).catch(() => res.destroy());
}

function misunderstood(error: unknown): Response {
  log.http('no request, or no answer: %s', kindOf(error));
  return new Problem(400, 'BODY_INVALID', 'This is no request that can be understood.').answer;
}

async function serve(handler: HttpHandler, url: URL, { req, res, native }: Exchange): Promise<void> {
  const signal = goneSignal(res);
  try {
    const parsed: unknown = isObject(native) ? native['body'] : undefined;
    await send(await handler(requestOf(req, parsed, url, signal), native), res);
  } catch (error) {
    if (!signal.aborted) end(res, misunderstood(error));
  }
}

/** Its URL when the handler answers it; null when it is somebody else's; what was thrown, as the answer to it. */
function ours(handler: HttpHandler, req: IncomingMessage, prefix: string): URL | Response | null {
  try {
    const url = ownUrl(req, prefix);
    return url !== null && handler.handles(url.pathname) ? url : null;
  } catch (error) {
    return misunderstood(error);
  }
}

/**
 * Makes a listener for `http.createServer`, for `app.use('/ops', …)` of express and for `app.all('/ops/*', …)` of
 * fastify. A body that was parsed already is used; paths that are not the handler's go to `next()`, or are answered
 * 404 where there is none. `authorize` gets the request of the framework as its second argument.
 *
 * @throws `INVALID_OPTION`
 * @example
 * app.use('/ops', toNodeHandler(handler)); // express
 * app.all('/ops/*', toNodeHandler(handler, { prefix: '/ops' })); // fastify
 */
export function toNodeHandler(handler: HttpHandler, options: NodeHandlerOptions = {}): NodeHandler {
  checkOptions('toNodeHandler', options, { prefix: isPrefix }, []);
  const prefix = options.prefix ?? '';
  return (request, reply, next) => {
    // By what they can do: any middleware may have put something of its own under `raw`.
    const req = 'pipe' in request ? request : request.raw;
    const res = 'setHeader' in reply ? reply : reply.raw;
    const wrapped = 'setHeader' in reply ? null : reply;
    const url = ours(handler, req, prefix);
    if (url === null && next !== undefined) return next();
    if (url === null && wrapped?.callNotFound !== undefined) return void wrapped.callNotFound();
    wrapped?.hijack();
    if (url === null) return end(res, notFound());
    if (url instanceof Response) return end(res, url);
    void serve(handler, url, { req, res, native: request });
  };
}
