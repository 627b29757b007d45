import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { createRecovery, memoryStorage } from '../../../src/index.js';
import type { Recovery, RecoveryOptions, Storage } from '../../../src/index.js';
import type { Finding } from '../../../src/cli/commands/doctor.js';
import { HAND_OVER_FIELD } from '../../../src/state/head.js';
import { indexes, keys } from '../../../src/state/keys.js';
import { sqliteStorage } from '../../../src/storage/sqlite.js';
import { cli, jobOf, moduleOf, prepare, tempFolder, withRecovery, withWorker } from '../cli.js';
import type { Ran } from '../cli.js';
import { documents } from '../schemas.js';

const opened: Recovery[] = [];
afterEach(async () => {
  for (const recovery of opened.splice(0)) await recovery.shutdown({ timeoutMs: 100 });
});

/** A Recovery that a module exports, over a storage of this process. */
function exported(options: Partial<RecoveryOptions> & { readonly storage: Storage }): {
  recovery: Recovery;
  module: string;
} {
  const recovery = createRecovery(options);
  opened.push(recovery);
  return { recovery, module: moduleOf(recovery) };
}

function findings({ json }: Ran, check: Finding['check']): Pick<Finding, 'status' | 'message'>[] {
  return documents.doctor.parse(json).findings.filter((each) => each.check === check);
}

async function prepared(): Promise<string> {
  const file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, prepare);
  return file;
}

describe('doctor', () => {
  test('has nothing to say about a namespace that is well, and exits 0', async () => {
    const file = await prepared();
    const { ran, stdout } = await withWorker(file, async () => ({
      ran: await cli(['doctor', '--json', '--sqlite', file]),
      stdout: (await cli(['doctor', '--sqlite', file])).stdout,
    }));
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const { healthy, findings: all } = documents.doctor.parse(ran.json);
    expect(healthy).toBe(true);
    expect(all.map(({ check, status }) => [check, status])).toEqual([
      ['connection', 'ok'],
      ['health', 'ok'],
      ['settings', 'ok'],
      ['clock', 'ok'],
      ['indexes', 'ok'],
      ['quarantined', 'ok'],
      ['stuck', 'ok'],
      ['unclaimed', 'ok'],
    ]);
    expect(all.every(({ advice }) => advice === null)).toBe(true);
    expect(stdout).toMatch(/^ok connection: The storage answers within \d+ ms\.\nok health: /);
  });

  test('orphans without a live worker are told of once, with what to do', async () => {
    const file = await prepared();
    const ran = await cli(['doctor', '--json', '--sqlite', file]);
    expect(ran.code).toBe(1);
    expect(findings(ran, 'health')).toMatchObject([
      { status: 'ok', message: 'No other threshold is crossed.' },
    ]);
    expect(findings(ran, 'unclaimed')).toEqual([
      {
        check: 'unclaimed',
        status: 'serious',
        message: '2 tasks are to be recovered, and no worker is alive.',
        advice: 'Start a worker that wraps their functions and calls runStartupRecovery.',
      },
    ]);
    expect(ran.stdout.split('no worker is alive')).toHaveLength(2);
  });

  test('index entries without tasks are a warning; quarantined tasks and orphans in vain are serious', async () => {
    const file = await prepared();
    const storage = sqliteStorage(file, { synchronous: 'OFF' });
    const home = 'rekindle:0';
    const { records } = await storage.read(home, [keys.head('held-1')]);
    const token = records[0]?.get('token') ?? '';
    const reply = await storage.commit(home, [
      {
        guard: { key: 'planted', expect: null, next: '1.p.0' },
        notAfter: Number.MAX_SAFE_INTEGER,
        index: [
          { index: indexes.inState('completed', 'job'), id: 'ghost', score: 1 },
          { index: indexes.quarantined('job'), id: 'broken', score: 1 },
        ],
        set: [{ key: keys.quarantine('broken'), fields: { name: 'job', reason: 'its head is torn' } }],
      },
      {
        guard: { key: keys.head('held-1'), expect: token, next: '1.p.1' },
        set: [{ key: keys.head('held-1'), fields: { dueAt: String(Date.now() - 600_000) } }],
      },
    ]);
    expect(reply.outcomes.map(({ status }) => status)).toEqual(['applied', 'applied']);
    await storage.close();
    const ran = await cli(['doctor', '--json', '--sqlite', file]);
    expect(ran.code).toBe(1);
    expect(findings(ran, 'indexes')).toMatchObject([
      { status: 'warning', message: expect.stringContaining('ghost (missing, in completed:job)') },
    ]);
    expect(findings(ran, 'quarantined')).toMatchObject([
      { status: 'serious', message: '1 task could not be read: broken (its head is torn).' },
    ]);
    expect(findings(ran, 'unclaimed')).toMatchObject([
      {
        status: 'serious',
        message: expect.stringMatching(
          /no worker is alive\. Nobody takes up orphans of job \(for 10 min\)\.$/,
        ),
      },
    ]);
    const { stdout, code } = await cli(['doctor', '--sqlite', file]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/\nserious unclaimed: .*\n {2}Start a worker/);
    const few = await cli(['doctor', '--json', '--limit', '2', '--sqlite', file]);
    expect(findings(few, 'indexes')[0]?.message).toMatch(/Only the first 2 were looked at/);
  });

  test('a submitted task waits in vain once its hand-over is long over', async () => {
    const storage = memoryStorage();
    const { recovery, module } = exported({ storage, dispatch: { dispatch: () => {} } });
    const job = recovery.withRecovery((_ctx, id: string) => id, { name: 'job', taskId: (id) => id });
    await job.submit('waits');
    const inTime = await cli(['doctor', '--json', '--import', module]);
    expect(findings(inTime, 'unclaimed')).toMatchObject([{ status: 'ok' }]);
    const { token = '' } = Object.fromEntries(
      (await storage.read('rekindle:0', [keys.head('waits')])).records[0] ?? [],
    );
    const fields = { [HAND_OVER_FIELD]: String(Date.now() - 600_000) };
    const reply = await storage.commit('rekindle:0', [
      {
        guard: { key: keys.head('waits'), expect: token, next: `${token}1` },
        set: [{ key: keys.head('waits'), fields }],
      },
    ]);
    expect(reply.outcomes).toMatchObject([{ status: 'applied' }]);
    const ran = await cli(['doctor', '--json', '--import', module]);
    expect(findings(ran, 'unclaimed')).toMatchObject([
      { status: 'serious', message: 'Nobody takes up orphans of job (for 10 min).' },
    ]);
  });

  test('settings at risk are warnings, which is no reason to fail', async () => {
    const risky = { durability: 'nothing', warnings: ['appendonly is off', 'a replica'] };
    const storage: Storage = { ...memoryStorage(), inspect: () => Promise.resolve(risky) };
    const ran = await cli(['doctor', '--json', '--import', exported({ storage }).module]);
    expect(ran.code).toBe(0);
    expect(findings(ran, 'settings')).toMatchObject([
      { status: 'warning', message: 'appendonly is off' },
      { status: 'warning', message: 'a replica' },
    ]);
    // Only who opened the storage can look behind the Recovery.
    expect(findings(ran, 'indexes')).toMatchObject([{ status: 'skipped' }]);
    expect(findings(ran, 'quarantined')).toMatchObject([{ status: 'skipped' }]);
  });

  test.each([
    [3_690_000, /1 h 1 min ahead of/],
    [-5_000, /[45](\.\d)? s behind/],
  ])('a clock that is %i ms off is told of', async (offMs, message) => {
    const storage = memoryStorage({ clock: { wallMs: () => Date.now() + offMs } });
    const ran = await cli(['doctor', '--json', '--import', exported({ storage }).module]);
    expect(ran.code).toBe(0);
    expect(findings(ran, 'clock')).toMatchObject([
      { status: 'warning', message: expect.stringMatching(message) },
    ]);
  });

  test('a stuck task is serious, and named', async () => {
    const { recovery, module } = exported({ storage: memoryStorage(), stuckAfterMs: 10, leaseMs: 300 });
    const { result } = await jobOf(recovery).start('held-1');
    result.catch(() => {});
    await vi.waitFor(async () => expect((await recovery.health()).stuck_task_count).toBe(1), {
      timeout: 10_000,
      interval: 25,
    });
    const ran = await cli(['doctor', '--json', '--import', module]);
    expect(ran.code).toBe(1);
    expect(findings(ran, 'stuck')).toMatchObject([
      {
        status: 'serious',
        message: expect.stringMatching(/^1 running task without progress: held-1 \(since 2/),
      },
    ]);
  });

  test('a check of the user’s that fails is serious', async () => {
    const checks = {
      disk: () => {
        throw new Error('full');
      },
    };
    const { module } = exported({ storage: memoryStorage(), checks });
    const ran = await cli(['doctor', '--json', '--import', module]);
    expect(ran.code).toBe(1);
    expect(findings(ran, 'health')).toMatchObject([
      { status: 'serious', message: expect.stringContaining('"disk"') },
    ]);
  });

  test.each(['doctor', 'status'])('%s: a storage that goes away meanwhile is 3', async (command) => {
    const memory = memoryStorage();
    let reads = 0;
    const read: Storage['read'] = (...args) => {
      reads += 1;
      return reads > 1 ? Promise.reject(new Error('away')) : memory.read(...args);
    };
    const ran = await cli([command, '--import', exported({ storage: { ...memory, read } }).module]);
    expect(ran).toMatchObject({ code: 3, stdout: '' });
    expect(ran.stderr).toMatch(/the storage can't be read/);
  });

  test('a storage that never answers is 3 in time', async () => {
    const silent: Storage = { ...memoryStorage(), read: () => new Promise(() => {}) };
    const { module } = exported({ storage: silent });
    const ran = await cli(['doctor', '--timeout', '50', '--import', module]);
    expect(ran).toMatchObject({
      code: 3,
      stdout: '',
      stderr: `rekindle: The storage of ${module}: no answer within 50 ms\n`,
    });
  });
});
