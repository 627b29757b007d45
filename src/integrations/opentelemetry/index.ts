/**
 * rekindle/opentelemetry: a span for each attempt, step and pass of recovery.
 *
 * A recovered attempt is linked to the one before it, in whatever process that was. Needs `@opentelemetry/api`, and an
 * SDK with an async context manager to have spans within each other; without an SDK it does nothing.
 */
import { context, createContextKey, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Attributes, Context, Span, Tracer } from '@opentelemetry/api';
import { checkOptions, hasMethods, isBoolean, isFunction } from '../../domain/check-options.js';
import type { AttemptInfo, RecoveryHooks, StepInfo, WatchedPass } from '../../domain/hooks.js';
import type { StoredError } from '../../domain/task.js';
import { failureOf } from './failure.js';
import type { Show } from './failure.js';
import { linkTo, traceparentOf } from './traceparent.js';

/** Options of `openTelemetryHooks`. */
export interface OpenTelemetryOptions {
  /** Makes the spans. Default: `trace.getTracer('rekindle')`, of whichever provider is registered by then. */
  readonly tracer?: Tracer | undefined;
  /** Whether spans tell the messages of errors, which may hold what users gave. Default false: names and codes only. */
  readonly showErrors?: boolean | undefined;
  /** With `showErrors`: takes out of an error what must not be told. When it throws, only the kind is told. */
  readonly redact?: ((error: StoredError) => StoredError) | undefined;
}

const CHECKS = { tracer: hasMethods('startSpan'), showErrors: isBoolean, redact: isFunction };

/** A pass of recovery. It gets a span only with the first thing that it finds: most find nothing. */
class Pass {
  readonly startTime: number = Date.now();
  readonly parent: Context;
  span: Span | null = null;
  ended = false;

  constructor(parent: Context) {
    this.parent = parent;
  }
}

const PASS = createContextKey('rekindle.pass');

/**
 * Hooks that make spans, for `createRecovery({ hooks })` or `recovery.instrument(hooks)`.
 *
 * `attempt <task>` (kind `CONSUMER` when it was taken back, else `INTERNAL`, a child of the caller's span), `step <task>`
 * and `recovery`. Attributes begin with `rekindle.`; an error sets the status `ERROR` and `error.type`, except for the
 * end by a shutdown, after which the task goes on elsewhere.
 * @throws `INVALID_OPTION`
 * @example
 * const recovery = createRecovery({ storage, hooks: openTelemetryHooks() });
 */
export function openTelemetryHooks(options: OpenTelemetryOptions = {}): RecoveryHooks {
  checkOptions('openTelemetryHooks', options, CHECKS, []);
  const show: Show = options.showErrors === true ? (options.redact ?? ((error) => error)) : null;
  const tracer = (): Tracer => options.tracer ?? trace.getTracer('rekindle');
  return {
    attempt: async (about, run) => {
      const span = startAttempt(tracer(), about);
      const own = traceparentOf(span.spanContext());
      if (own !== null) about.keep(own);
      endWith(span, await context.with(trace.setSpan(context.active(), span), run), show);
    },
    step: async (about, run) => {
      const span = tracer().startSpan(`step ${about.name}`, { attributes: stepAttributes(about) });
      endWith(span, await context.with(trace.setSpan(context.active(), span), run), show);
    },
    recovery: async (run) => {
      const parent = context.active();
      const pass = new Pass(parent);
      const end = await context.with(parent.setValue(PASS, pass), run);
      endPass(tracer(), pass, end, show);
    },
  };
}

function startAttempt(tracer: Tracer, about: AttemptInfo): Span {
  const links = about.kept === null ? [] : linkTo(about.kept);
  const kind = about.recovered ? SpanKind.CONSUMER : SpanKind.INTERNAL;
  const attributes = attemptAttributes(about);
  return tracer.startSpan(`attempt ${about.name}`, { kind, attributes, links }, parentOf(tracer, about));
}

/** A recovered attempt belongs to the pass that it is made in, as long as that goes on. */
function parentOf(tracer: Tracer, { recovered }: AttemptInfo): Context {
  const active = context.active();
  const pass = active.getValue(PASS);
  if (!recovered || !(pass instanceof Pass) || pass.ended) return active;
  // Claimed by a call from within another task: that is where it belongs.
  if (trace.getSpan(active) !== trace.getSpan(pass.parent)) return active;
  return trace.setSpan(active, spanOf(tracer, pass));
}

function spanOf(tracer: Tracer, pass: Pass): Span {
  return (pass.span ??= tracer.startSpan('recovery', { startTime: pass.startTime }, pass.parent));
}

function endPass(tracer: Tracer, pass: Pass, end: WatchedPass, show: Show): void {
  pass.ended = true;
  if (end.ok && pass.span === null && end.figures.discovered === 0) return;
  const span = spanOf(tracer, pass);
  if (end.ok) {
    const { discovered, recovered, failed, skipped, deferred, deadLettered } = end.figures;
    span.setAttributes({
      'rekindle.recovery.discovered': discovered,
      'rekindle.recovery.recovered': recovered,
      'rekindle.recovery.failed': failed,
      'rekindle.recovery.skipped': skipped,
      'rekindle.recovery.deferred': deferred,
      'rekindle.recovery.dead_lettered': deadLettered,
    });
  }
  endWith(span, end, show);
}

function endWith(
  span: Span,
  end: { readonly ok: true } | { readonly ok: false; readonly error: unknown },
  show: Show,
): void {
  if (!end.ok) {
    const { type, isError, message } = failureOf(end.error, show);
    span.setAttribute('error.type', type);
    if (isError) span.setStatus({ code: SpanStatusCode.ERROR, message: message ?? type });
    if (isError && message !== null) span.recordException({ name: type, message });
  }
  span.end();
}

function attemptAttributes(about: AttemptInfo): Attributes {
  return {
    'rekindle.task.id': about.taskId,
    'rekindle.task.name': about.name,
    'rekindle.task.attempt': about.attempt,
    'rekindle.task.fence': about.fence,
    'rekindle.task.recovered': about.recovered,
    ...(about.cause === null ? {} : { 'rekindle.recovery.cause': about.cause }),
    ...(about.decision === null ? {} : { 'rekindle.recovery.decision': about.decision }),
  };
}

/** The name of a step may have a key in it: it is no part of the span's name, of which there are to be few. */
function stepAttributes({ taskId, name, attempt, step }: StepInfo): Attributes {
  return {
    'rekindle.task.id': taskId,
    'rekindle.task.name': name,
    'rekindle.task.attempt': attempt,
    'rekindle.step.name': step,
  };
}
