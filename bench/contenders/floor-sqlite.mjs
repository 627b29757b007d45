// The floor on SQLite: one statement, which is its own transaction, for begin, checkpoint and done.
import { join } from 'node:path';
import { openSqlite } from '../harness.mjs';
import { inLanes, oneByOne, PAYLOAD } from './shared.mjs';

const TOKEN = '1.nonce.0';

export async function open({ folder }) {
  const db = openSqlite(join(folder, 'floor.db'));
  db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL');
  db.exec(
    'CREATE TABLE task (id TEXT PRIMARY KEY, token TEXT, status TEXT, seq INTEGER, at INTEGER, data TEXT)',
  );
  db.exec('CREATE INDEX task_by_status ON task (status, at)');
  const insert = db.prepare('INSERT INTO task (id, token, status, at) VALUES (?, ?, ?, ?)');
  const end = db.prepare("UPDATE task SET status = 'completed', at = ? WHERE id = ? AND token = ?");
  const update = db.prepare('UPDATE task SET seq = ?, at = ?, data = ? WHERE id = ? AND token = ?');
  for (let lane = 0; lane < 64; lane += 1) insert.run(`lane-${lane}`, TOKEN, 'processing', Date.now());
  const data = JSON.stringify(PAYLOAD);
  const checkpoint = async (lane, i) => update.run(i, Date.now(), data, `lane-${lane}`, TOKEN);
  let next = 0;
  const noop = async () => {
    const id = `task-${(next += 1)}`;
    insert.run(id, TOKEN, 'processing', Date.now());
    end.run(Date.now(), id, TOKEN);
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
