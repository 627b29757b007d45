// OpenWorkflow in W3, on Postgres: its worker claims what has no lease any more.
import { OpenWorkflow } from 'openworkflow';
import { BackendPostgres } from 'openworkflow/postgres';
import pg from 'pg';
import { config, enter, steps, TASKS, taskIds, watch, work } from './body.mjs';

const backend = await BackendPostgres.connect(config.url, { namespaceId: config.name });
const client = new OpenWorkflow({ backend });
const flow = client.defineWorkflow({ name: 'bench' }, async ({ input, step }) => {
  await enter(input.id);
  for (const n of steps) await step.run({ name: `step-${n}` }, () => work(input.id, n));
});
const worker = client.newWorker({ concurrency: TASKS });
if (!config.restart) await Promise.all(taskIds.map((id) => flow.run({ id })));
await worker.start();
const pool = new pg.Pool({ connectionString: config.url, max: 1 });
const text =
  "SELECT count(*)::int AS n FROM openworkflow.workflow_runs WHERE status IN ('completed', 'succeeded') AND namespace_id = $1";
await watch(async () => (await pool.query(text, [config.name])).rows[0].n);
