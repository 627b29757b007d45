// DBOS in W3: steps in a workflow; its launch recovers what the same executor id left.
import { DBOS } from '@dbos-inc/dbos-sdk';
import pg from 'pg';
import { config, enter, steps, taskIds, watch, work } from './body.mjs';

DBOS.setConfig({ name: 'bench', systemDatabaseUrl: config.url, logLevel: 'error', applicationVersion: '1' });
const flow = DBOS.registerWorkflow(
  async (id) => {
    await enter(id);
    for (const step of steps) await DBOS.runStep(() => work(id, step), { name: `step-${step}` });
  },
  { name: 'bench' },
);
await DBOS.launch();
if (!config.restart) {
  await Promise.all(
    taskIds.map((id) => DBOS.startWorkflow(flow, { workflowID: `${config.name}-${id}` })(id)),
  );
}
const pool = new pg.Pool({ connectionString: config.url, max: 1 });
const text =
  "SELECT count(*)::int AS n FROM dbos.workflow_status WHERE status = 'SUCCESS' AND workflow_uuid LIKE $1";
await watch(async () => (await pool.query(text, [`${config.name}-%`])).rows[0].n);
