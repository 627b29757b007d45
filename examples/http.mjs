/**
 * Health and buttons over HTTP: a worker left a task behind; an operator looks, reads the plan, triggers recovery and
 * follows what happens. Whoever has no token sees health only.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRecovery, memoryStorage } from 'rekindle';
import { createHttpHandler, toNodeHandler } from 'rekindle/http';

const TOKEN = 'Bearer 8d1f'; // from your secrets
const storage = memoryStorage();
const OPTIONS = { name: 'send-report', taskId: (report) => report };

// A worker that is stopped in the middle of its task.
const first = createRecovery({ storage });
const begin = first.withRecovery(async (ctx) => {
  await ctx.createCheckpoint({ name: 'rendered', progressPercent: 60, recoverableData: { pages: 12 } });
  await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
  throw ctx.signal.reason;
}, OPTIONS);
await begin.start('monthly');
await new Promise((resolve) => setTimeout(resolve, 50));
await first.shutdown({ timeoutMs: 500 });

const recovery = createRecovery({ storage });
recovery.withRecovery(
  async (ctx, report) => `${report}: ${ctx.resumedFrom.recoverableData.pages} pages`,
  OPTIONS,
);

const handler = createHttpHandler(recovery, {
  authorize: (request) => request.headers.get('authorization') === TOKEN,
});
const server = createServer(toNodeHandler(handler)).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const url = `http://127.0.0.1:${server.address().port}`;
const ask = async (path, init) =>
  (await fetch(url + path, { ...init, headers: { authorization: TOKEN } })).json();

const { overall_health, recovery_queue_depth } = await (await fetch(`${url}/health/recovery`)).json();
console.log(`health: ${overall_health}, in the recovery queue: ${recovery_queue_depth}`);
const refused = await fetch(`${url}/recovery/tasks`);
console.log(`without a token: ${refused.status}`);
assert.equal(refused.status, 403);

const { planned } = await ask('/recovery/plan');
for (const { taskId, decision, reason } of planned) console.log(`plan: ${taskId}: ${decision}: ${reason}`);
const { recovered, failed } = await ask('/recovery/trigger', { method: 'POST' });
console.log(`triggered: ${recovered} recovered, ${failed} failed`);
assert.deepEqual([recovered, failed], [1, 0]);

const { task, events } = await ask('/recovery/tasks/monthly');
console.log(`monthly: ${task.status} after ${events.map(({ event }) => event).join(', ')}`);
assert.equal(task.status, 'completed');

// Event streams end with the Recovery: first it, then the server.
await recovery.shutdown();
server.close();
server.closeAllConnections();
