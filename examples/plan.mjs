/**
 * What would recovery do, and why? A first worker leaves two tasks behind; a second one asks for the plan, which
 * writes nothing, and then carries it out.
 */
import { createRecovery, memoryStorage } from 'rekindle';

const storage = memoryStorage();
const OPTIONS = { name: 'send-report', taskId: (report) => report };

const first = createRecovery({ storage });
const begin = first.withRecovery(async (ctx, report) => {
  if (report === 'monthly') {
    await ctx.createCheckpoint({ name: 'rendered', progressPercent: 60, recoverableData: { pages: 12 } });
  }
  // Waits until its signal aborts, late in the shutdown's time; then it is given back.
  await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
  throw ctx.signal.reason;
}, OPTIONS);
await begin.start('monthly');
await begin.start('weekly');
await new Promise((resolve) => setTimeout(resolve, 50));
// Closing a memory storage does nothing: the second worker can go on with it.
await first.shutdown({ timeoutMs: 500 });

const second = createRecovery({ storage });
second.withRecovery(async (ctx, report) => {
  const from = ctx.resumedFrom === null ? 'the beginning' : `"${ctx.resumedFrom.name}"`;
  console.log(`sending the ${report} report, from ${from}`);
}, OPTIONS);

for (const { taskId, decision, reason, strategy } of await second.planRecovery()) {
  console.log(`${taskId}: ${decision} (${strategy}): ${reason}`);
}
const report = await (await second.recover()).finished;
console.log(`recovered: ${report.recovered}`);
await second.shutdown();
