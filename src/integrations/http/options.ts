/** The options of the HTTP handler, their checks and their defaults. */
import {
  checkOptions,
  hasMethods,
  isBoolean,
  isFunction,
  isObject,
  number,
} from '../../domain/check-options.js';
import type { Thresholds } from '../../domain/operations.js';
import { areThresholds } from '../../monitoring/thresholds.js';
import { withoutSecrets } from './redact-secrets.js';

/** What writes the Prometheus text; `prometheusMetrics` of `rekindle/prometheus` makes one. */
export interface MetricsText {
  readonly text: () => Promise<string>;
  readonly contentType: string;
}

/** Options of `createHttpHandler`. */
export interface HttpOptions {
  /**
   * Says who may use the admin routes: asked before anything else about each request under `/recovery`, with the
   * request and, through `toNodeHandler`, the framework's own. Only `true` lets it pass; what it throws is a refusal.
   * Without it these routes do not exist.
   *
   * It may read the body of a clone only.
   */
  readonly authorize?: ((request: Request, native?: unknown) => boolean | Promise<boolean>) | undefined;
  /** In place of those of `createRecovery`, one by one. */
  readonly thresholds?: Thresholds | undefined;
  /** Whether messages of errors are shown. Default false. */
  readonly showErrors?: boolean | undefined;
  /** Whether what users store (checkpoint data, database state, metadata and query of failures) is shown. Default false. */
  readonly showPayloads?: boolean | undefined;
  /**
   * Takes out of a payload what must not be shown, at once: when it throws or returns a promise, the payload is not.
   * Default: values under keys that sound secret, and passwords of URLs.
   */
  readonly redactPayload?: ((value: unknown) => unknown) | undefined;
  /**
   * Where `GET /metrics` gets its text; `false`: there is no such route. Default: `prometheusMetrics(recovery)`, made with
   * the first request for it, from which on what this process does is counted; 501 while `prom-client` is not installed.
   */
  readonly prometheus?: MetricsText | false | undefined;
  /** Entries a page where a request doesn't say, 1 to 1,000. Default 100. */
  readonly pageSize?: number | undefined;
  /** Bytes of a request's body at most. Default 65,536. */
  readonly bodyBytes?: number | undefined;
  /** How long `POST /recovery/trigger` and `/recovery/failures/redrive` wait for the end, in ms. Default 10,000. */
  readonly waitMs?: number | undefined;
  /** How often a silent event stream is kept alive with a comment, in ms. Default 15,000. */
  readonly heartbeatMs?: number | undefined;
  /** Event streams at once; the next one is answered 503. Default 100. */
  readonly maxFollowers?: number | undefined;
}

/** All options, with the defaults filled in. */
export interface HttpSettings {
  readonly authorize: ((request: Request, native?: unknown) => unknown) | null;
  readonly thresholds: Thresholds | null;
  readonly showErrors: boolean;
  /** Null: payloads are not shown. */
  readonly redactPayload: ((value: unknown) => unknown) | null;
  /** Null: made when it is asked for. */
  readonly prometheus: MetricsText | false | null;
  readonly pageSize: number;
  readonly bodyBytes: number;
  readonly waitMs: number;
  readonly heartbeatMs: number;
  readonly maxFollowers: number;
}

/** The largest page. */
export const LARGEST_PAGE = 1_000;
const LONGEST_MS = 600_000;

function isMetricsText(value: unknown): string | null {
  if (value === false) return null;
  const problem = hasMethods('text')(value);
  if (problem !== null) return problem;
  return isObject(value) && typeof value['contentType'] === 'string' ? null : 'must have a contentType';
}

const CHECKS = {
  authorize: isFunction,
  thresholds: areThresholds,
  showErrors: isBoolean,
  showPayloads: isBoolean,
  redactPayload: isFunction,
  prometheus: isMetricsText,
  pageSize: number(1, LARGEST_PAGE),
  bodyBytes: number(1, 16 * 1024 * 1024),
  waitMs: number(0, LONGEST_MS),
  heartbeatMs: number(10, LONGEST_MS),
  maxFollowers: number(0, 100_000),
};

/** @throws `INVALID_OPTION` naming every option that is unknown or ill-typed */
export function httpSettingsOf(options: HttpOptions): HttpSettings {
  checkOptions('createHttpHandler', options, CHECKS, []);
  return {
    authorize: options.authorize ?? null,
    thresholds: options.thresholds ?? null,
    showErrors: options.showErrors ?? false,
    redactPayload: options.showPayloads === true ? (options.redactPayload ?? withoutSecrets) : null,
    prometheus: options.prometheus ?? null,
    pageSize: options.pageSize ?? 100,
    bodyBytes: options.bodyBytes ?? 65_536,
    waitMs: options.waitMs ?? 10_000,
    heartbeatMs: options.heartbeatMs ?? 15_000,
    maxFollowers: options.maxFollowers ?? 100,
  };
}
