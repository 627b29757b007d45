/**
 * Entry of `rekindle/http`: health, metrics and what operators do, as one handler from `Request` to `Response`.
 *
 * @example
 * const handler = createHttpHandler(recovery, { authorize: (request) => isOperator(request) });
 * createServer(toNodeHandler(handler)).listen(9090);
 */
export { createHttpHandler } from './handler.js';
export type { HttpHandler } from './handler.js';
export { toNodeHandler } from './node.js';
export type { NodeHandler, NodeHandlerOptions, WrappedReply, WrappedRequest } from './node.js';
export { openApiDocument } from './openapi.js';
export type { HttpOptions, MetricsText } from './options.js';
