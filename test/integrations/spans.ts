/** Spans as they arrive at an exporter of the OpenTelemetry SDK, in the global tracer's place. */
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { afterEach, beforeEach } from 'vitest';
import { openTelemetryHooks } from '../../src/integrations/opentelemetry/index.js';
import type { OpenTelemetryOptions } from '../../src/integrations/opentelemetry/index.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { WrappedTask } from '../../src/runtime/with-recovery.js';
import { World } from '../runtime/harness.js';
import type { Proc } from '../runtime/harness.js';

/** Has no sentence in it that could be a code or a name. */
export const CANARY = 'c4n4ry s3cr3t';

export class Spans {
  world: World = new World();
  exporter: InMemorySpanExporter = new InMemorySpanExporter();

  /** For each test a world and an exporter of its own. */
  static each(): Spans {
    const spans = new Spans();
    beforeEach(() => {
      spans.begin();
      context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
      trace.setGlobalTracerProvider(
        new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans.exporter)] }),
      );
    });
    afterEach(async () => {
      await spans.world.end();
      trace.disable();
      context.disable();
    });
    return spans;
  }

  begin(): void {
    this.world = new World();
    this.exporter = new InMemorySpanExporter();
  }

  /** Another world, with nothing told of it yet. */
  again(): void {
    this.world = new World();
    this.exporter.reset();
  }

  traced(options: OpenTelemetryOptions = {}): Proc {
    return this.world.proc({ hooks: openTelemetryHooks(options) });
  }

  named(name: string): ReadableSpan[] {
    return this.exporter.getFinishedSpans().filter((span) => span.name === name);
  }

  the(name: string): ReadableSpan {
    const [only, ...more] = this.named(name);
    if (only === undefined || more.length > 0) throw new Error(`not one span, but others or none: ${name}`);
    return only;
  }
}

/** The task "t". */
export function define<R>(
  { recovery }: Proc,
  body: (ctx: RecoveryContext) => R | Promise<R>,
): WrappedTask<[], R> {
  return recovery.withRecovery(body, { name: 'import', taskId: () => 't' });
}

export const forever = (): Promise<never> => new Promise<never>(() => {});
