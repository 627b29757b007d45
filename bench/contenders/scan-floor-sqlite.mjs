// The floor of W4 on SQLite: what is due, by its index, and a claim each, which is a transaction of its own.
import { join } from 'node:path';
import { openSqlite } from '../harness.mjs';

const ORPHANS = 100;

export async function open({ folder }) {
  const db = openSqlite(join(folder, 'scan-floor.db'));
  db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL');
  db.exec('CREATE TABLE task (id TEXT PRIMARY KEY, status TEXT, lease INTEGER, token TEXT, owner TEXT)');
  db.exec('CREATE INDEX task_due ON task (status, lease)');
  const insert = db.prepare("INSERT INTO task VALUES (?, ?, ?, '1.nonce.0', 'dead')");
  const due = db.prepare("SELECT id FROM task WHERE status = 'processing' AND lease <= ? LIMIT 100");
  const claim = db.prepare('UPDATE task SET token = ?, owner = ?, lease = ? WHERE id = ? AND token = ?');
  const all = (ids, ...values) => {
    db.exec('BEGIN');
    for (const id of ids) insert.run(id, ...values);
    db.exec('COMMIT');
  };
  let round = 0;
  return {
    async load(from, count) {
      all(
        Array.from({ length: count }, (_, i) => `done-${from + i}`),
        'completed',
        1,
      );
    },
    async scan() {
      round += 1;
      all(
        Array.from({ length: ORPHANS }, (_, i) => `orphan-${round}-${i}`),
        'processing',
        Date.now() - 1_000,
      );
      const start = performance.now();
      const lease = Date.now() + 3_600_000;
      let claimed = 0;
      for (const { id } of due.all(Date.now())) {
        claimed += claim.run('2.nonce.0', 'me', lease, id, '1.nonce.0').changes;
      }
      const taken = performance.now() - start;
      if (claimed !== ORPHANS) throw new Error('Not all were claimed.');
      return taken;
    },
  };
}
