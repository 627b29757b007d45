/** Commands that look at a namespace: status, task, plan. */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { aesGcmCodec } from '../../../src/index.js';
import { openPath } from '../../../src/storage/sqlite/driver.js';
import { cli, crash, jobOf, prepare, tempFolder, withRecovery, withWorker } from '../cli.js';
import { documents } from '../schemas.js';

let file = '';
beforeAll(async () => {
  file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, prepare, { partitions: 3 });
});

describe('status', () => {
  test('--json: health and metrics', async () => {
    const ran = await cli(['status', '--json', '--sqlite', file]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const { health, metrics } = documents.status.parse(ran.json);
    expect(health).toMatchObject({
      overall_health: 'unhealthy',
      reasons: [{ code: 'no_worker', severity: 'unhealthy' }],
      recovery_queue_depth: 2,
      recent_failure_count: 2,
      checks: { storage: { status: 'up' } },
    });
    expect(metrics.task_state_distribution).toMatchObject({
      completed: 1,
      failed: 2,
      orphaned: 2,
      cancelled: 1,
    });
    expect(metrics.documents.total_failed_documents).toBe(2);
  });

  test('for people: names and values, parted by a tab on a pipe', async () => {
    const look = async (): Promise<string> => (await cli(['status', '--sqlite', file])).stdout;
    const stdout = await withWorker(file, look, 3);
    expect(stdout).toMatch(/^health\thealthy\n/);
    expect(stdout).toMatch(/\nrecovery queue\t2\n/);
    expect(stdout).toMatch(/\norphaned\t2\n/);
    expect(stdout).not.toMatch(/What is wrong/);
    expect(stdout).toMatch(/\nprocessing\t0\n/);
    expect(await look()).toMatch(/\nunhealthy\tno_worker\t2 tasks/);
  });

  test('the table of states says which tasks have lost their owner', async () => {
    const own = join(tempFolder(), 'own.db');
    await crash(own);
    const { stdout } = await cli(['status', '--sqlite', own]);
    expect(stdout).toMatch(/\nprocessing\t0\n[^]*\norphaned\t1\n[^]*\nTasks\n/);
    expect(stdout).toMatch(/\nTasks\n[^]*\nprocessing\t1 \(1 with a lease that is over\)\norphaned\t0\n/);
    const { json } = await cli(['status', '--json', '--sqlite', own]);
    expect(documents.status.parse(json).metrics.task_state_distribution.processing).toBe(1);
  });

  test('exits 0 also when what it has to tell is bad, and tells it', async () => {
    const bad = join(tempFolder(), 'bad.db');
    // More than a hundred tasks in the queue cross a threshold.
    await withRecovery(bad, async (recovery) => {
      const hang = recovery.withRecovery(
        (ctx) =>
          new Promise((_, reject) => {
            ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason));
          }),
        { name: 'hang' },
      );
      const started = Array.from({ length: 101 }, () => hang.start());
      for (const { result } of await Promise.all(started)) result.catch(() => {});
    });
    const { code, stdout } = await cli(['status', '--sqlite', bad], { terminal: true });
    expect(code).toBe(0);
    expect(stdout).toMatch(/degraded/);
    expect(stdout).toMatch(/What is wrong[^]*queue/);
  });
});

describe('task', () => {
  test('--json: the task, its attempts, events and checkpoints, without their data', async () => {
    const ran = await cli(['task', 'bad-1', '--json', '--sqlite', file]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const { task, history, checkpoints } = documents.task.parse(ran.json);
    expect(task).toMatchObject({ taskId: 'bad-1', status: 'failed', error: { code: 'E_RATE' } });
    expect(history.attempts).toMatchObject([{ attempt: 1, end: 'task_failed', cause: null }]);
    expect(history.events.map(({ event }) => event)).toEqual(['task_started', 'task_failed']);
    expect(checkpoints).toMatchObject([{ name: 'half', progressPercent: 50 }]);
    expect(ran.stdout).not.toContain('recoverableData');
  });

  test('--data: with the data of checkpoints', async () => {
    const ran = await cli(['task', 'bad-1', '--data', '--json', '--sqlite', file]);
    const { checkpoints } = documents.taskWithData.parse(ran.json);
    expect(checkpoints).toMatchObject([{ recoverableData: { for: 'bad-1' }, databaseState: null }]);
    const plain = await cli(['task', 'bad-1', '--data', '--sqlite', file]);
    expect(plain.stdout).toMatch(/\t\{"for":"bad-1"\}\tnull\n$/);
  });

  test('for people', async () => {
    const { stdout } = await cli(['task', 'bad-1', '--sqlite', file]);
    expect(stdout).toMatch(/^task\tbad-1\nname\tjob\nstatus\tfailed\n/);
    for (const part of ['Attempts', 'Events', 'Checkpoints']) expect(stdout).toContain(`\n${part}\n`);
    expect(stdout).toMatch(/\ttask_failed\tattempt=1 error_name=Error error_code=E_RATE\n/);
    expect(stdout).not.toContain('{');
  });

  test('an attempt that crashed is told to have, as long as it has no other end', async () => {
    const own = join(tempFolder(), 'own.db');
    await crash(own);
    const attempts = async (): Promise<string> =>
      /\nAttempts\n([^]*)\nEvents\n/.exec((await cli(['task', 'held-1', '--sqlite', own])).stdout)?.[1] ?? '';
    expect(await attempts()).toMatch(/\n1\t\S+\t-\t-\tcrashed\t-\t-\n/);
    let running = '';
    await withRecovery(own, async (recovery) => {
      jobOf(recovery);
      await recovery.recover();
      running = await attempts();
    });
    expect(running).toMatch(/\n1\t\S+\t-\t-\tcrashed\t.*\n2\t\S+\tlease_over\trestart\t-\t-\t/);
    expect(await attempts()).toMatch(/\tcrashed\t.*\n2\t\S+\tlease_over\trestart\ttask_released\t2/);
  });

  test('that is not there is 4', async () => {
    const { code, stderr, stdout } = await cli(['task', 'nobody', '--sqlite', file]);
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toMatch(/There is no task "nobody" in .*tasks\.db, namespace rekindle/);
  });

  test('with checkpoints that a codec has encoded: all else is shown, and how to see them', async () => {
    const sealed = join(tempFolder(), 'sealed.db');
    const codec = aesGcmCodec({ keys: { k: Buffer.alloc(32, 1) }, currentKeyId: 'k' });
    await withRecovery(sealed, prepare, { codec });
    const ran = await cli(['task', 'done', '--json', '--data', '--sqlite', sealed]);
    expect(ran.code).toBe(0);
    expect(documents.task.parse(ran.json)).toMatchObject({
      checkpoints: null,
      checkpointsError: 'CODEC_FAILED',
    });
    const { stdout } = await cli(['task', 'done', '--sqlite', sealed]);
    expect(stdout).toMatch(/can not be read here.*--import/);
  });
});

describe('plan', () => {
  test('without functions it tells what waits, and what it needs to tell more', async () => {
    const ran = await cli(['plan', '--json', '--sqlite', file]);
    const { tasks } = documents.plan.parse(ran.json);
    expect(tasks.map(({ taskId, decision }) => `${taskId}: ${decision}`).toSorted()).toEqual([
      'held-1: skip',
      'held-2: skip',
    ]);
    const { stdout, stderr } = await cli(['plan', '--sqlite', file]);
    expect(stdout).toMatch(/^task\tname\tdecision\tstrategy\treason\n/);
    expect(stderr).toMatch(/--import/);
  });

  test('nothing to recover', async () => {
    const ran = await cli(['plan', '--sqlite', file, '--namespace', 'other']);
    expect(ran).toMatchObject({ code: 0, stdout: '' });
    expect(ran.stderr).toMatch(/There is nothing to recover/);
  });
});

test('who only looks writes nothing, and signs on nobody', async () => {
  const rows = async (): Promise<unknown[]> => {
    const database = await openPath(file);
    const tables = ['records', 'index', 'events'].map((name) => `rekindle_${name}`);
    const found = tables.map((table) => database.prepare(`SELECT * FROM ${table} ORDER BY 1, 2, 3`).all());
    database.close();
    return found.map((each) => JSON.stringify(each));
  };
  const before = await rows();
  const commands = [
    'status',
    'tasks',
    'task done',
    'plan',
    'failures',
    'failures --group',
    'events',
    'doctor',
  ];
  for (const command of commands) {
    const { code } = await cli([...command.split(' '), '--sqlite', file]);
    // No worker is there for the orphans.
    expect(code, command).toBe(command === 'doctor' ? 1 : 0);
  }
  expect(await rows()).toEqual(before);
});
