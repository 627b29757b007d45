import { existsSync } from 'node:fs';
import PgBoss from 'pg-boss';
import { expect, test } from 'vitest';
import { startPostgres } from './postgres-server.js';

test('a server takes jobs, and is gone with its folder when it is stopped', async () => {
  const server = await startPostgres();
  const boss = new PgBoss({ connectionString: server.url, supervise: false, schedule: false });
  boss.on('error', () => {});
  await boss.start();
  const { rows } = await boss.getDb().executeSql('SHOW data_directory', []);
  const folder = String(rows[0]['data_directory']);
  expect(existsSync(folder)).toBe(true);
  await boss.stop({ graceful: false });
  await server.stop();
  expect(existsSync(folder)).toBe(false);
  expect(() => process.kill(server.pid, 0)).toThrow('ESRCH');
  await server.stop();
});
