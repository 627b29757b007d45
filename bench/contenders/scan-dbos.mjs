// W4 of DBOS: 100 workflows of a dead executor are put into its recovery queue; nothing is claimed yet.
import { DBOS } from '@dbos-inc/dbos-sdk';
import executors from '@dbos-inc/dbos-sdk/internal/dbos-executor';
import pg from 'pg';

const ORPHANS = 100;

export async function open({ url }) {
  DBOS.setConfig({ name: 'bench', systemDatabaseUrl: url, logLevel: 'error', applicationVersion: '1' });
  const flow = DBOS.registerWorkflow(async () => {}, { name: 'bench' });
  await DBOS.launch();
  await flow();
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  const { rows } = await pool.query('SELECT * FROM dbos.workflow_status LIMIT 1');
  const columns = Object.keys(rows[0]).filter((name) => name !== 'workflow_uuid');
  const names = columns.map((name) => `"${name}"`).join(', ');
  const [sample] = rows;
  /** Copies of one that has run, with some columns changed. */
  const insert = (prefix, from, count, changes) => {
    const values = columns.map((name) => (name in changes ? changes[name] : `"${name}"`)).join(', ');
    return pool.query(
      `INSERT INTO dbos.workflow_status (workflow_uuid, ${names})
      SELECT $1 || i, ${values} FROM dbos.workflow_status CROSS JOIN generate_series($2::int, $3::int) AS i
      WHERE workflow_uuid = $4`,
      [prefix, from, from + count - 1, sample.workflow_uuid],
    );
  };
  let round = 0;
  return {
    async load(from, count) {
      await insert('done-', from, count, {});
      await pool.query('VACUUM ANALYZE dbos.workflow_status');
    },
    async scan() {
      round += 1;
      const executor = `dead-${round}`;
      const changes = { status: "'PENDING'", executor_id: `'${executor}'`, completed_at: 'NULL' };
      await insert(`orphan-${round}-`, 0, ORPHANS, changes);
      const start = performance.now();
      const handles = await executors.DBOSExecutor.globalInstance.recoverPendingWorkflows([executor]);
      const taken = performance.now() - start;
      if (handles.length !== ORPHANS) throw new Error(`${handles.length} were found, not ${ORPHANS}.`);
      // Copies have no inputs, so they must not run: its queue is looked at once a second.
      const end =
        "UPDATE dbos.workflow_status SET status = 'SUCCESS', queue_name = NULL WHERE executor_id = $1";
      await pool.query(end, [executor]);
      return taken;
    },
  };
}
