/** Spans as they arrive at an exporter of the OpenTelemetry SDK. */
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTelemetryHooks } from '../../src/integrations/opentelemetry/index.js';
import type { OpenTelemetryOptions } from '../../src/integrations/opentelemetry/index.js';
import { RecoveryError } from '../../src/errors.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import {
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from '../runtime/harness.js';
import type { Proc } from '../runtime/harness.js';
import { die, startQuietly, swept } from '../runtime/lab.js';
import { settled } from '../support/manual-clock.js';

trapUnhandledRejections();

const CANARY = 'c4n4ry s3cr3t';

let world: World;
let exporter: InMemorySpanExporter;
beforeEach(() => {
  world = new World();
  exporter = new InMemorySpanExporter();
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
});
afterEach(async () => {
  await world.end();
  trace.disable();
  context.disable();
});

const traced = (options: OpenTelemetryOptions = {}): Proc =>
  world.proc({ hooks: openTelemetryHooks(options) });

function define({ recovery }: Proc, body: (ctx: RecoveryContext) => unknown) {
  return recovery.withRecovery(body, { name: 'import', taskId: () => 't' });
}

const forever = (): Promise<never> => new Promise<never>(() => {});

function spans(name: string): ReadableSpan[] {
  return exporter.getFinishedSpans().filter((span) => span.name === name);
}

function span(name: string): ReadableSpan {
  const [only, ...more] = spans(name);
  if (only === undefined || more.length > 0) throw new Error(`${more.length + 1} spans, or none: ${name}`);
  return only;
}

const own = (name: string): void => trace.getTracer('user').startSpan(name).end();

function isWithin(child: ReadableSpan, parent: ReadableSpan): void {
  expect(child.parentSpanContext?.spanId).toBe(parent.spanContext().spanId);
  expect(child.spanContext().traceId).toBe(parent.spanContext().traceId);
}

/** A task that has made a checkpoint in its first attempt, and died. */
async function crashed(): Promise<void> {
  const proc = traced();
  await startQuietly(
    define(proc, async (ctx) => {
      await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
      return forever();
    }),
  );
  await die(world, proc);
}

describe('spans', () => {
  it('of an attempt and its steps lie within that of the caller, and the spans of users within them', async () => {
    const task = define(traced(), async (ctx) => {
      own('in the attempt');
      return ctx.step('load page 7', async () => {
        await ctx.updateProgress(1);
        own('in the step');
      });
    });
    await trace.getTracer('user').startActiveSpan('request', async (request) => {
      await world.until(task());
      request.end();
    });
    await settled();
    const [attempt, step] = [span('attempt import'), span('step import')];
    isWithin(attempt, span('request'));
    isWithin(span('in the attempt'), attempt);
    isWithin(step, attempt);
    isWithin(span('in the step'), step);
    expect(attempt.kind).toBe(SpanKind.INTERNAL);
    expect(attempt.status.code).toBe(SpanStatusCode.UNSET);
    expect(attempt.links).toEqual([]);
    expect(attempt.attributes).toEqual({
      'rekindle.task.id': 't',
      'rekindle.task.name': 'import',
      'rekindle.task.attempt': 1,
      'rekindle.task.fence': expect.any(Number),
      'rekindle.task.recovered': false,
    });
    expect(step.attributes).toEqual({
      'rekindle.task.id': 't',
      'rekindle.task.name': 'import',
      'rekindle.task.attempt': 1,
      'rekindle.step.name': 'load page 7',
    });
    expect(attempt.instrumentationScope.name).toBe('rekindle');
  });

  it('of a recovered attempt lies within its pass, and is linked to the one before, whose process died', async () => {
    const contexts: unknown[] = [];
    const note = (): void => void contexts.push(trace.getActiveSpan()?.spanContext());
    const dying = traced();
    await startQuietly(
      define(dying, async (ctx) => {
        note();
        await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
        return forever();
      }),
    );
    await die(world, dying);
    const again = traced();
    define(again, async (ctx) => {
      note();
      await ctx.createCheckpoint({ name: 'more', progressPercent: 60 });
      return forever();
    });
    await world.until(again.recovery.runStartupRecovery());
    await die(world, again);
    const last = traced();
    define(last, note);
    await swept(world, last);
    await world.clock.advance(SWEEP_MS);
    const attempt = span('attempt import');
    expect(attempt.spanContext()).toEqual(contexts[2]);
    const linked = attempt.links.map((link) => link.context);
    expect(linked).toEqual([{ ...Object(contexts[1]), isRemote: true }]);
    expect(contexts[1]).not.toMatchObject({ spanId: Reflect.get(Object(contexts[0]), 'spanId') });
    expect(attempt.kind).toBe(SpanKind.CONSUMER);
    expect(attempt.attributes).toMatchObject({
      'rekindle.task.attempt': 3,
      'rekindle.task.recovered': true,
      'rekindle.recovery.cause': 'lease_over',
      'rekindle.recovery.decision': 'resume',
    });
    const pass = span('recovery');
    isWithin(attempt, pass);
    expect(pass.attributes).toMatchObject({
      'rekindle.recovery.discovered': 1,
      'rekindle.recovery.recovered': 1,
      'rekindle.recovery.failed': 0,
    });
  });

  it('are not made of passes that find nothing', async () => {
    const proc = traced();
    define(proc, () => 1);
    await swept(world, proc);
    await world.clock.advance(3 * SWEEP_MS);
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  it('tell of a pass that found what it did not start, and of one that failed', async () => {
    await crashed();
    const proc = traced();
    define(proc, () => 1);
    const skips = world.proc({
      hooks: openTelemetryHooks(),
      strategies: [{ name: 'no', decide: () => ({ action: 'skip', reason: 'not now', evidence: {} }) }],
    });
    define(skips, () => 1);
    await swept(world, skips);
    expect(span('recovery').attributes).toMatchObject({
      'rekindle.recovery.discovered': 1,
      'rekindle.recovery.skipped': 1,
    });
    exporter.reset();
    const look = proc.line.hold(({ kind }) => kind === 'range');
    const pass = rejectionOf(world.until(proc.recovery.recover()));
    await look.reached;
    proc.line.down = new RecoveryError('STORAGE_UNAVAILABLE', CANARY, { retryable: true });
    look.release();
    await pass;
    await settled();
    expect(span('recovery').status).toEqual({ code: SpanStatusCode.ERROR, message: 'STORAGE_UNAVAILABLE' });
  });
});

describe('errors', () => {
  const wrong = Object.assign(new TypeError(CANARY), { code: 'E_BAD' });
  const failing = async (options: OpenTelemetryOptions, error: unknown): Promise<ReadableSpan> => {
    await rejectionOf(
      world.until(
        define(traced(options), (ctx) =>
          ctx.step('s', () => {
            throw error;
          }),
        )(),
      ),
    );
    await settled();
    return span('attempt import');
  };

  it('are told by code, and never by message', async () => {
    const { status, attributes, events } = await failing({}, wrong);
    expect(status).toEqual({ code: SpanStatusCode.ERROR, message: 'E_BAD' });
    expect(attributes).toMatchObject({ 'error.type': 'E_BAD' });
    expect(events).toEqual([]);
    expect(span('step import').status).toEqual(status);
  });

  it.each([
    [new TypeError(CANARY), 'TypeError'],
    [Object.assign(new Error(CANARY), { code: CANARY, name: CANARY }), 'Error'],
    [Object.assign(new Error(CANARY), { code: 7 }), 'Error'],
    [CANARY, 'string'],
    [undefined, 'undefined'],
    [{ message: CANARY }, 'Error'],
    [Proxy.revocable({}, {}), 'object'],
  ])('are told by their kind where they have no code that is a word', async (error, type) => {
    const told = await failing({}, error);
    expect(told.status).toEqual({ code: SpanStatusCode.ERROR, message: type });
    expect(JSON.stringify(told.attributes)).not.toContain(CANARY);
  });

  it('are told by message with `showErrors`, as `redact` leaves it', async () => {
    const shown = await failing({ showErrors: true }, wrong);
    expect(shown.status.message).toBe(CANARY);
    expect(shown.events).toMatchObject([
      { name: 'exception', attributes: { 'exception.type': 'E_BAD', 'exception.message': CANARY } },
    ]);
    exporter.reset();
    world = new World();
    const redact = (error: { name: string; message: string; code: string | null }) => ({
      ...error,
      message: '***',
    });
    expect((await failing({ showErrors: true, redact }, wrong)).status.message).toBe('***');
  });

  it('are told by code when `redact` throws', async () => {
    const redact = (): never => {
      throw new Error('no');
    };
    const { status, events } = await failing({ showErrors: true, redact }, wrong);
    expect(status.message).toBe('E_BAD');
    expect(events).toEqual([]);
  });

  it('a shutdown is none', async () => {
    const proc = traced();
    await startQuietly(define(proc, untilAborted));
    await world.until(proc.recovery.shutdown({ timeoutMs: 1_000 }));
    const { status, attributes } = span('attempt import');
    expect(status.code).toBe(SpanStatusCode.UNSET);
    expect(attributes).toMatchObject({ 'error.type': 'SHUT_DOWN' });
  });
});

describe('openTelemetryHooks', () => {
  it('tells nothing of payloads, results, user contexts and checkpoints', async () => {
    const proc = traced();
    const task = proc.recovery.withRecovery(
      async (ctx, _secret: string) => {
        await ctx.createCheckpoint({ name: 'c', progressPercent: 1, recoverableData: CANARY });
        return ctx.step('s', () => CANARY);
      },
      { name: 'import', taskId: () => 't', userContext: () => ({ secret: CANARY }) },
    );
    expect(await world.until(task(CANARY))).toBe(CANARY);
    await settled();
    const told = exporter
      .getFinishedSpans()
      .map((each) => [each.name, each.attributes, each.events, each.status]);
    expect(told.length).toBe(2);
    expect(JSON.stringify(told)).not.toContain(CANARY);
  });

  it('uses the tracer that it is given', async () => {
    const other = new InMemorySpanExporter();
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(other)] });
    await world.until(define(traced({ tracer: provider.getTracer('mine') }), () => 1)());
    await settled();
    expect(exporter.getFinishedSpans()).toEqual([]);
    expect(other.getFinishedSpans().map((each) => each.instrumentationScope.name)).toEqual(['mine']);
  });

  it('without an SDK does nothing, and keeps nothing', async () => {
    trace.disable();
    context.disable();
    const proc = traced();
    const task = define(proc, (ctx) => ctx.step('s', () => 7));
    expect(await world.until(task())).toBe(7);
    expect(JSON.stringify(proc.line.commits)).not.toContain('trace');
  });

  it('makes no link of a text that is none of its own', async () => {
    for (const text of [
      'x',
      '00-0-0-01',
      `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`,
      `00-${'a'.repeat(32)}-`,
    ]) {
      exporter.reset();
      world = new World();
      const dying = world.proc({ hooks: { attempt: ({ keep }) => keep(text) } });
      await startQuietly(define(dying, forever));
      await world.clock.advance(LEASE_MS);
      await die(world, dying);
      const proc = traced();
      define(proc, () => 1);
      await swept(world, proc);
      expect(span('attempt import').links).toEqual([]);
    }
  });

  it.each([[{ tracer: {} }], [{ showErrors: 1 }], [{ redact: 'x' }], [{ errors: true }], [null]])(
    'refuses %j',
    (given) => {
      expect(() => Reflect.apply(openTelemetryHooks, null, [given])).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      );
    },
  );
});
