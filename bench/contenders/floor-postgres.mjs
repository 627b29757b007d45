// The floor on Postgres: one prepared statement over a pool of 10 for begin, checkpoint and done.
import pg from 'pg';
import { inLanes, oneByOne, PAYLOAD } from './shared.mjs';

const TOKEN = '1.nonce.0';

export async function open({ url }) {
  const pool = new pg.Pool({ connectionString: url, max: 10 });
  await pool.query(
    'CREATE TABLE floor (id text PRIMARY KEY, token text, status text, seq int, at bigint, data text)',
  );
  await pool.query('CREATE INDEX ON floor (status, at)');
  const run = (name, text, ...values) => pool.query({ name, text, values });
  const begin = (id) =>
    run(
      'begin',
      "INSERT INTO floor (id, token, status, at) VALUES ($1, $2, 'processing', $3)",
      id,
      TOKEN,
      Date.now(),
    );
  const end = (id) =>
    run(
      'end',
      "UPDATE floor SET status = 'completed', at = $3 WHERE id = $1 AND token = $2",
      id,
      TOKEN,
      Date.now(),
    );
  const data = JSON.stringify(PAYLOAD);
  const text = 'UPDATE floor SET seq = $3, at = $4, data = $5 WHERE id = $1 AND token = $2';
  const checkpoint = (lane, i) => run('checkpoint', text, `lane-${lane}`, TOKEN, i, Date.now(), data);
  for (let lane = 0; lane < 64; lane += 1) await begin(`lane-${lane}`);
  let next = 0;
  const noop = async () => {
    const id = `task-${(next += 1)}`;
    await begin(id);
    await end(id);
  };
  return {
    tasks: (count, width, checkpoints) =>
      inLanes(count, width, async (lane) => {
        if (checkpoints === 0) await noop();
        for (let i = 0; i < checkpoints; i += 1) await checkpoint(lane, i);
      }),
    alone: (count) => oneByOne(count, (i) => checkpoint(0, i)),
  };
}
