/** What spans tell of errors. */
import { SpanStatusCode } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { describe, expect, it } from 'vitest';
import type { OpenTelemetryOptions } from '../../src/integrations/opentelemetry/index.js';
import { rejectionOf, trapUnhandledRejections, untilAborted } from '../runtime/harness.js';
import { startQuietly } from '../runtime/lab.js';
import { settled } from '../support/manual-clock.js';
import { CANARY, define, Spans } from './spans.js';

trapUnhandledRejections();

const spans = Spans.each();

describe('errors', () => {
  const wrong = Object.assign(new TypeError(CANARY), { code: 'E_BAD' });
  const failing = async (options: OpenTelemetryOptions, error: unknown): Promise<ReadableSpan> => {
    await rejectionOf(
      spans.world.until(
        define(spans.traced(options), (ctx) =>
          ctx.step('s', () => {
            throw error;
          }),
        )(),
      ),
    );
    await settled();
    return spans.the('attempt import');
  };

  it('are told by code, and never by message', async () => {
    const { status, attributes, events } = await failing({}, wrong);
    expect(status).toEqual({ code: SpanStatusCode.ERROR, message: 'E_BAD' });
    expect(attributes).toMatchObject({ 'error.type': 'E_BAD' });
    expect(events).toEqual([]);
    expect(spans.the('step import').status).toEqual(status);
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
    spans.again();
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
    const proc = spans.traced();
    await startQuietly(define(proc, untilAborted));
    await spans.world.until(proc.recovery.shutdown({ timeoutMs: 1_000 }));
    const { status, attributes } = spans.the('attempt import');
    expect(status.code).toBe(SpanStatusCode.UNSET);
    expect(attributes).toMatchObject({ 'error.type': 'SHUT_DOWN' });
  });
});
