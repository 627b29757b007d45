// W4 of OpenWorkflow on SQLite: 100 claims of runs whose lease is over.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { OpenWorkflow } from 'openworkflow';
import { BackendSqlite } from 'openworkflow/sqlite';

const ORPHANS = 100;

export async function open({ folder }) {
  const path = join(folder, 'scan-openworkflow.db');
  const backend = BackendSqlite.connect(path);
  const flow = new OpenWorkflow({ backend }).defineWorkflow({ name: 'bench' }, async () => {});
  await flow.run({});
  const claim = () => backend.claimWorkflowRun({ workerId: 'me', leaseDurationMs: 3_600_000 });
  const sample = await claim();
  const db = new DatabaseSync(path);
  const columns = db
    .prepare('SELECT name FROM pragma_table_info(?)')
    .all('workflow_runs')
    .map(({ name }) => name)
    .filter((name) => name !== 'id');
  const insert = (prefix, from, count, changes) => {
    const values = columns.map((name) => (name in changes ? changes[name] : `"${name}"`)).join(', ');
    db.prepare(
      `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${from + count - 1})
      INSERT INTO workflow_runs (id, ${columns.map((name) => `"${name}"`).join(', ')})
      SELECT ? || i, ${values} FROM workflow_runs CROSS JOIN n WHERE id = ?`,
    ).run(prefix, sample.id);
  };
  let round = 0;
  return {
    async load(from, count) {
      insert('done-', from, count, { status: "'completed'", available_at: 'NULL', worker_id: 'NULL' });
    },
    async scan() {
      round += 1;
      insert(`orphan-${round}-`, 0, ORPHANS, {
        status: "'running'",
        available_at: "'2020-01-01T00:00:00.000Z'",
      });
      const start = performance.now();
      let claimed = 0;
      while ((await claim()) !== null) claimed += 1;
      const taken = performance.now() - start;
      if (claimed !== ORPHANS) throw new Error(`${claimed} were claimed, not ${ORPHANS}.`);
      db.exec("UPDATE workflow_runs SET status = 'completed', available_at = NULL WHERE status = 'running'");
      return taken;
    },
  };
}
