/** Durable checkpoints on SQLite with synchronous=FULL, against one bare transaction a checkpoint. */
import { join } from 'node:path';
import { createRecovery } from '../dist/index.js';
import { sqliteStorage } from '../dist/sqlite.js';
import { openSqlite, rounds, row, show, tempFolder, throughput } from './harness.mjs';
import { runningTasks } from './redis-checkpoint.mjs';

const WIDTH = 32;

/** The floor: the fence and three columns in one statement, which is its own transaction. */
function floor(path) {
  const db = openSqlite(path);
  db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL');
  db.exec('CREATE TABLE task (id TEXT PRIMARY KEY, token TEXT, seq INTEGER, at INTEGER, data TEXT)');
  for (let lane = 0; lane < WIDTH; lane += 1) {
    db.prepare('INSERT INTO task (id, token) VALUES (?, ?)').run(`task-${lane}`, '1.nonce.0');
  }
  const update = db.prepare('UPDATE task SET seq = ?, at = ?, data = ? WHERE id = ? AND token = ?');
  const data = JSON.stringify('x'.repeat(198));
  return {
    checkpoint: async (lane, i) => update.run(i, Date.now(), data, `task-${lane}`, '1.nonce.0'),
    close: () => db.close(),
  };
}

export async function sqliteCheckpoint({ quick }) {
  const folder = tempFolder();
  try {
    const storage = sqliteStorage(join(folder.path, 'ours.db'));
    const recovery = createRecovery({ storage });
    const tasks = await runningTasks(recovery, WIDTH);
    const bare = floor(join(folder.path, 'floor.db'));
    const times = quick ? 50 : 200;
    const many = await rounds(quick ? 5 : 11, {
      ours: () => throughput(WIDTH, 4 * times, tasks.checkpoint),
      floor: () => throughput(WIDTH, times, bare.checkpoint),
    });
    const { durability } = await storage.inspect();
    await tasks.end();
    await recovery.shutdown();
    bare.close();
    const measure = `SQLite: checkpoints/s, ${WIDTH} at a time`;
    return [
      {
        ...row(measure, show(many.ours), show(many.floor), many.ours.median / many.floor.median, {
          least: 5,
        }),
        note: durability,
      },
    ];
  } finally {
    folder.remove();
  }
}
