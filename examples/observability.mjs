/**
 * A worker is killed, and another one goes on: the span of the second attempt is linked to that of the first, which never
 * ended, and the metrics tell for how long nobody worked on the task.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { createRecovery } from 'rekindle';
import { openTelemetryHooks } from 'rekindle/opentelemetry';
import { prometheusMetrics } from 'rekindle/prometheus';
import { sqliteStorage } from 'rekindle/sqlite';

const exporter = new InMemorySpanExporter();
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);

function worker(folder) {
  const storage = sqliteStorage(join(folder, 'recovery.db'));
  const recovery = createRecovery({ storage, hooks: openTelemetryHooks() });
  const load = recovery.withRecovery(
    async (ctx, file) => {
      if (ctx.reached('half')) return ctx.step('second half', () => `${String(file)} is loaded`);
      await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
      process.send?.(trace.getActiveSpan().spanContext());
      return new Promise(() => {}); // until it is killed
    },
    { name: 'load', taskId: (file) => file },
  );
  return { recovery, load };
}

const [given] = process.argv.slice(2);
if (given !== undefined) {
  await worker(given).load('orders.csv');
} else {
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-observability-'));
  try {
    const child = fork(fileURLToPath(import.meta.url), [folder]);
    const [first] = await once(child, 'message');
    child.kill('SIGKILL');
    await once(child, 'exit');

    const { recovery } = worker(folder);
    const metrics = prometheusMetrics(recovery);
    const { finished } = await recovery.runStartupRecovery();
    await finished;
    const text = await metrics.text();

    for (const { name, links } of exporter.getFinishedSpans())
      console.log('span:', name, links.length > 0 ? '(linked)' : '');
    const attempt = exporter.getFinishedSpans().find(({ name }) => name === 'attempt load');
    assert.equal(attempt.links[0].context.spanId, first.spanId);
    console.log('the second attempt is linked to the first one:', first.spanId);

    for (const line of text.match(/^rekindle_(recoveries_succeeded|time_to_resume_seconds_(sum|count)).*$/gm))
      console.log(line);
    assert.match(text, /^rekindle_recoveries_succeeded_total\{task="load"\} 1$/m);
    await recovery.shutdown();
  } finally {
    rmSync(folder, { recursive: true });
  }
}
