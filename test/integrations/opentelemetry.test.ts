/** Spans of attempts, steps and passes. */
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { describe, expect, it } from 'vitest';
import { openTelemetryHooks } from '../../src/integrations/opentelemetry/index.js';
import { RecoveryError } from '../../src/errors.js';
import { LEASE_MS, rejectionOf, SWEEP_MS, trapUnhandledRejections } from '../runtime/harness.js';
import { die, startQuietly, swept } from '../runtime/lab.js';
import { settled } from '../support/manual-clock.js';
import { CANARY, define, forever, Spans } from './spans.js';

trapUnhandledRejections();

const spans = Spans.each();

const own = (name: string): void => trace.getTracer('user').startSpan(name).end();

function isWithin(child: ReadableSpan, parent: ReadableSpan): void {
  expect(child.parentSpanContext?.spanId).toBe(parent.spanContext().spanId);
  expect(child.spanContext().traceId).toBe(parent.spanContext().traceId);
}

/** A task that has made a checkpoint in its first attempt, and died. */
async function crashed(): Promise<void> {
  const proc = spans.traced();
  await startQuietly(
    define(proc, async (ctx) => {
      await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
      return forever();
    }),
  );
  await die(spans.world, proc);
}

describe('spans', () => {
  it('of an attempt and its steps lie within that of the caller, and the spans of users within them', async () => {
    const task = define(spans.traced(), async (ctx) => {
      own('in the attempt');
      return ctx.step('load page 7', async () => {
        await ctx.updateProgress(1);
        own('in the step');
      });
    });
    await trace.getTracer('user').startActiveSpan('request', async (request) => {
      await spans.world.until(task());
      request.end();
    });
    await settled();
    const [attempt, step] = [spans.the('attempt import'), spans.the('step import')];
    isWithin(attempt, spans.the('request'));
    isWithin(spans.the('in the attempt'), attempt);
    isWithin(step, attempt);
    isWithin(spans.the('in the step'), step);
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
    const dying = spans.traced();
    await startQuietly(
      define(dying, async (ctx) => {
        note();
        await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
        return forever();
      }),
    );
    await die(spans.world, dying);
    const again = spans.traced();
    define(again, async (ctx) => {
      note();
      await ctx.createCheckpoint({ name: 'more', progressPercent: 60 });
      return forever();
    });
    await spans.world.until(again.recovery.runStartupRecovery());
    await die(spans.world, again);
    const last = spans.traced();
    define(last, note);
    await swept(spans.world, last);
    await spans.world.clock.advance(SWEEP_MS);
    const attempt = spans.the('attempt import');
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
    const pass = spans.the('recovery');
    isWithin(attempt, pass);
    expect(pass.attributes).toMatchObject({
      'rekindle.recovery.discovered': 1,
      'rekindle.recovery.recovered': 1,
      'rekindle.recovery.failed': 0,
    });
  });

  it('of a task that a recovered one calls lies within that one, also when it was an orphan itself', async () => {
    const dying = spans.traced();
    const names = ['outer', 'inner'];
    for (const name of names)
      await startQuietly(dying.recovery.withRecovery(forever, { name, taskId: () => name }));
    await die(spans.world, dying);
    const proc = spans.traced();
    const inner = proc.recovery.withRecovery(() => 1, {
      name: 'inner',
      taskId: () => 'inner',
      recovery: 'never',
    });
    proc.recovery.withRecovery(() => inner(), { name: 'outer', taskId: () => 'outer' });
    await trace.getTracer('user').startActiveSpan('boot', async (boot) => {
      const { finished } = await spans.world.until(proc.recovery.runStartupRecovery({ names: ['outer'] }));
      await spans.world.until(finished);
      boot.end();
    });
    await settled();
    isWithin(spans.the('recovery'), spans.the('boot'));
    isWithin(spans.the('attempt outer'), spans.the('recovery'));
    isWithin(spans.the('attempt inner'), spans.the('attempt outer'));
    expect(spans.the('attempt inner').attributes).toMatchObject({ 'rekindle.task.attempt': 2 });
  });

  it('of a next try, after the pass has ended, lies within no pass', async () => {
    await crashed();
    const proc = spans.traced();
    proc.recovery.withRecovery(
      (ctx) => {
        if (ctx.attempt === 2) throw new Error('no');
      },
      { name: 'import', taskId: () => 't', maxAttempts: 3 },
    );
    await swept(spans.world, proc);
    await spans.world.clock.advance(3 * SWEEP_MS);
    const [first, next] = spans.named('attempt import');
    if (first === undefined) throw new Error('it was not taken back');
    isWithin(first, spans.the('recovery'));
    expect(next?.attributes).toMatchObject({ 'rekindle.task.attempt': 3 });
    expect(next?.parentSpanContext).toBeUndefined();
    expect(next?.links.map((link) => link.context.spanId)).toEqual([first.spanContext().spanId]);
  });

  it('are not made of passes that find nothing', async () => {
    const proc = spans.traced();
    define(proc, () => 1);
    await swept(spans.world, proc);
    await spans.world.clock.advance(3 * SWEEP_MS);
    expect(spans.exporter.getFinishedSpans()).toEqual([]);
  });

  it('tell of a pass that found what it did not start, and of one that failed', async () => {
    await crashed();
    const proc = spans.traced();
    define(proc, () => 1);
    const skips = spans.world.proc({
      hooks: openTelemetryHooks(),
      strategies: [{ name: 'no', decide: () => ({ action: 'skip', reason: 'not now', evidence: {} }) }],
    });
    define(skips, () => 1);
    await swept(spans.world, skips);
    expect(spans.the('recovery').attributes).toMatchObject({
      'rekindle.recovery.discovered': 1,
      'rekindle.recovery.skipped': 1,
    });
    spans.exporter.reset();
    const look = proc.line.hold(({ kind }) => kind === 'range');
    const pass = rejectionOf(spans.world.until(proc.recovery.recover()));
    await look.reached;
    proc.line.down = new RecoveryError('STORAGE_UNAVAILABLE', CANARY, { retryable: true });
    look.release();
    await pass;
    await settled();
    expect(spans.the('recovery').status).toEqual({
      code: SpanStatusCode.ERROR,
      message: 'STORAGE_UNAVAILABLE',
    });
  });
});

describe('openTelemetryHooks', () => {
  it('tells nothing of payloads, results, user contexts and checkpoints', async () => {
    const proc = spans.traced();
    const task = proc.recovery.withRecovery(
      async (ctx, _secret: string) => {
        await ctx.createCheckpoint({ name: 'c', progressPercent: 1, recoverableData: CANARY });
        return ctx.step('s', () => CANARY);
      },
      { name: 'import', taskId: () => 't', userContext: () => ({ secret: CANARY }) },
    );
    expect(await spans.world.until(task(CANARY))).toBe(CANARY);
    await settled();
    const told = spans.exporter
      .getFinishedSpans()
      .map((each) => [each.name, each.attributes, each.events, each.status]);
    expect(told.length).toBe(2);
    expect(JSON.stringify(told)).not.toContain(CANARY);
  });

  it('uses the tracer that it is given', async () => {
    const other = new InMemorySpanExporter();
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(other)] });
    await spans.world.until(define(spans.traced({ tracer: provider.getTracer('mine') }), () => 1)());
    await settled();
    expect(spans.exporter.getFinishedSpans()).toEqual([]);
    expect(other.getFinishedSpans().map((each) => each.instrumentationScope.name)).toEqual(['mine']);
  });

  it('without an SDK does nothing, and keeps nothing', async () => {
    trace.disable();
    context.disable();
    const proc = spans.traced();
    const task = define(proc, (ctx) => ctx.step('s', () => 7));
    expect(await spans.world.until(task())).toBe(7);
    expect(JSON.stringify(proc.line.commits)).not.toContain('trace');
  });

  it('makes no link of a text that is none of its own', async () => {
    for (const text of [
      'x',
      '00-0-0-01',
      `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`,
      `00-${'a'.repeat(32)}-`,
    ]) {
      spans.again();
      const dying = spans.world.proc({ hooks: { attempt: ({ keep }) => keep(text) } });
      await startQuietly(define(dying, forever));
      await spans.world.clock.advance(LEASE_MS);
      await die(spans.world, dying);
      const proc = spans.traced();
      define(proc, () => 1);
      await swept(spans.world, proc);
      expect(spans.the('attempt import').links).toEqual([]);
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
