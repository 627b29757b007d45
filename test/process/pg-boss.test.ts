/** Jobs of pg-boss whose worker is killed: real processes on a real PostgreSQL, with the recovery state in a SQLite file. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import PgBoss from 'pg-boss';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRecovery } from '../../src/index.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';
import { startPostgres } from '../support/postgres-server.js';
import type { PostgresServer } from '../support/postgres-server.js';
import { waitFor } from '../support/redis-server.js';

const PROGRAM = fileURLToPath(new URL('../fixtures/pg-boss-worker.mjs', import.meta.url));
const JOBS = 50;
const STEPS = 6;
const SLOTS = 8;
const QUEUE = 'jobs';

interface Note {
  readonly what: string;
  readonly id?: string;
  readonly step?: number;
  readonly attempt?: number;
  readonly atBoot?: boolean;
  readonly state?: string;
}

let server: PostgresServer;
let folder = '';
const children: ChildProcess[] = [];

beforeAll(async () => {
  server = await startPostgres();
  folder = mkdtempSync(join(tmpdir(), 'rekindle-pg-boss-'));
});
afterAll(async () => {
  await Promise.all(children.map(kill));
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

function notes(what: string): Note[] {
  const journal = join(folder, 'journal');
  return (existsSync(journal) ? readFileSync(journal, 'utf8') : '')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line): Note => JSON.parse(line))
    .filter((note) => note.what === what);
}

function worker(stepsToHold?: number): ChildProcess {
  const place = {
    url: server.url,
    queue: QUEUE,
    journal: join(folder, 'journal'),
    slots: SLOTS,
    stepsToHold,
  };
  const config = JSON.stringify({ ...place, sqlite: join(folder, 'state.db') });
  const child = spawn(process.execPath, [PROGRAM, config], { stdio: ['ignore', 'ignore', 'inherit'] });
  children.push(child);
  return child;
}

test('a worker is killed in the middle of its jobs of pg-boss, and another one goes on', async () => {
  const boss = new PgBoss({ connectionString: server.url, supervise: false, schedule: false });
  boss.on('error', () => {});
  await boss.start();
  await boss.createQueue(QUEUE);
  const observer = createRecovery({ storage: sqliteStorage(join(folder, 'state.db')) });
  const sent = Array.from({ length: JOBS }, () => boss.send(QUEUE, { steps: STEPS, stepMs: 5 }));
  const ids = (await Promise.all(sent)).map(String);
  const inState = async (state: string): Promise<string[]> => {
    const jobs = await Promise.all(ids.map((id) => boss.getJobById(QUEUE, id)));
    return jobs.flatMap((job) => (job?.state === state ? [job.id] : []));
  };

  const first = worker((JOBS * STEPS) / 2);
  await waitFor('half of the steps', () => notes('in hand').length === SLOTS);
  await kill(first);
  const done = new Set(notes('done').map(({ id, step }) => `${id} ${step}`));
  const held = (await observer.tasks.list({ status: 'processing', limit: 100 })).tasks;
  expect(held).toHaveLength(SLOTS);
  const left = await inState('active');

  // Whatever was in hand is resumed at boot, while pg-boss still takes it for active.
  worker();
  await waitFor(
    'the rest of the jobs',
    async () => (await inState('completed')).length === JOBS - left.length,
  );
  const inHand = (): Promise<boolean[]> =>
    Promise.all(held.map(async ({ taskId }) => (await observer.tasks.get(taskId))?.status === 'completed'));
  await waitFor('what was in hand', async () => (await inHand()).every(Boolean));
  const again = notes('running').filter(({ attempt }) => attempt === 2);
  const resumed = again.map(({ id }) => `${QUEUE}:${id}`);
  expect(resumed.toSorted()).toEqual(held.map(({ taskId }) => taskId).toSorted());
  for (const note of again) expect(note).toMatchObject({ atBoot: true, state: 'active' });
  expect((await inState('active')).toSorted()).toEqual(left.toSorted());

  // 15 minutes later, by the clock of pg-boss: it delivers them again, and they have their results.
  const text = "UPDATE pgboss.job SET started_on = now() - interval '16 minutes' WHERE id = ANY($1)";
  await boss.getDb().executeSql(text, [left]);
  await boss.expire();
  await waitFor('all jobs', async () => (await inState('completed')).length === JOBS);
  for (const id of ids) {
    const retryCount = left.includes(id) ? 1 : 0;
    expect(await boss.getJobById(QUEUE, id)).toMatchObject({ output: { value: `${id}!` }, retryCount });
  }
  expect(await observer.tasks.counts()).toMatchObject({ completed: JOBS });

  const begun = notes('begun').map(({ id, step }) => `${id} ${step}`);
  expect(new Set(begun).size).toBe(JOBS * STEPS);
  const twice = begun.filter((step, index) => begun.indexOf(step) !== index);
  expect(new Set(twice).size).toBe(twice.length);
  expect(twice).toHaveLength(SLOTS);
  expect(twice.filter((step) => done.has(step))).toEqual([]);
  expect(notes('unhandled')).toEqual([]);
  await observer.shutdown();
  await boss.stop({ graceful: false });
});
