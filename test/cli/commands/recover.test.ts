import { afterEach, describe, expect, test, vi } from 'vitest';
import { createRecovery, memoryStorage } from '../../../src/index.js';
import type { Recovery, Storage } from '../../../src/index.js';
import { cli, jobOf, moduleOf, prepare } from '../cli.js';
import { documents } from '../schemas.js';

let storage: Storage;
const opened: Recovery[] = [];
afterEach(async () => {
  for (const recovery of opened.splice(0)) await recovery.shutdown({ timeoutMs: 100 });
});

/** A namespace with something of everything, and a module whose functions fail no more, or as before. */
async function prepared(mended: boolean): Promise<{ module: string; recovery: Recovery }> {
  storage = memoryStorage({ partitions: 3 });
  const before = createRecovery({ storage });
  await prepare(before);
  await before.shutdown({ timeoutMs: 200 });
  const recovery = createRecovery({ storage, documents: { minRetryIntervalMs: 1 } });
  opened.push(recovery);
  if (!mended) jobOf(recovery);
  else
    recovery.withRecovery(async (_, what: string) => what, {
      name: 'job',
      taskId: (what) => what,
      document: (what) => `/in/${what}.pdf`,
    });
  return { module: moduleOf(recovery), recovery };
}

describe('recover', () => {
  test('runs what waits, and reports it', async () => {
    const { module } = await prepared(true);
    const ran = await cli(['recover', '--json', '--import', module]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(documents.recover.parse(ran.json)).toMatchObject({
      kind: 'tasks',
      report: { recovered: 2, failed: 0, tasks: [{ outcome: 'completed' }, { outcome: 'completed' }] },
    });
  });

  test('progress goes to stderr, a line a tenth on a pipe and a bar on a terminal; the answer to stdout', async () => {
    const piped = await cli(['recover', '--import', (await prepared(true)).module]);
    expect(piped.stdout).toMatch(
      /^task\tname\tdecision\toutcome\titems\treason\terror\n(held-\d\tjob\tresume\tcompleted\t.*\n){2}/,
    );
    expect(piped.stdout).toMatch(
      /\n2 orphans found, 2 started, 0 failed, 0 skipped, 0 deferred, 0 given up, 0 given back, .*\n$/,
    );
    expect(piped.stderr).toMatch(/^tasks: 1\/2\ntasks: 2\/2\n$/);
    const shown = await cli(['recover', '--import', (await prepared(true)).module], { terminal: true });
    expect(shown.stderr).toMatch(/tasks \[=+\] 2\/2/);
    expect(shown.stdout).not.toContain('[=');
  });

  test('1 when some of what it recovers fails', async () => {
    storage = memoryStorage();
    const before = createRecovery({ storage });
    await prepare(before);
    await before.shutdown({ timeoutMs: 200 });
    const recovery = createRecovery({ storage });
    opened.push(recovery);
    const fails = (): Promise<never> => Promise.reject(new Error('worse than before'));
    recovery.withRecovery(fails, { name: 'job' });
    const ran = await cli(['recover', '--json', '--import', moduleOf(recovery)]);
    expect(ran.code).toBe(1);
    expect(documents.recover.parse(ran.json)).toMatchObject({
      kind: 'tasks',
      report: { recovered: 2, failed: 2 },
    });
  });

  test('--names leaves others alone', async () => {
    const { module, recovery } = await prepared(true);
    const other = recovery.withRecovery(() => null, { name: 'other' });
    await other();
    const ran = await cli(['recover', '--json', '--names', 'other', '--import', module]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(documents.recover.parse(ran.json)).toMatchObject({ report: { recovered: 0 } });
  });

  test('--names that nobody knows are 2; 1 when tasks of one wait and no function is here', async () => {
    const { module } = await prepared(true);
    const unknown = await cli(['recover', '--names', 'job', 'nothere', '--import', module]);
    expect(unknown).toMatchObject({ code: 2, stdout: '' });
    expect(unknown.stderr).toMatch(
      /no function of the name "nothere", .* never had a task of it\. Known: job\.\n$/,
    );
    const recovery = createRecovery({ storage });
    opened.push(recovery);
    const missing = await cli(['recover', '--names', 'job', '--import', moduleOf(recovery)]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(/^No function of the name "job" is registered in .*tasks\.mjs\.\n/);
    expect(missing.stdout).toMatch(/\n0 orphans found, 0 started, 0 failed, 2 skipped, /);
    // A function that the module exports may not have had a task yet.
    const fresh = createRecovery({ storage: memoryStorage() });
    opened.push(fresh);
    const job = fresh.withRecovery(() => null, { name: 'job' });
    const ran = await cli(['recover', '--names', 'job', '--import', moduleOf(fresh, { job })]);
    expect(ran.code).toBe(0);
  });

  test('a shutdown that never ends keeps neither a signal nor the end waiting', async () => {
    const { recovery } = await prepared(false);
    const module = moduleOf({ ...recovery, shutdown: () => new Promise(() => {}) });
    let started = 0;
    const running = new Promise<void>((resolve) => {
      recovery.on('processing_resumed', () => {
        started += 1;
        if (started === 2) resolve();
      });
    });
    let send: (signal: 'SIGINT' | 'SIGTERM') => void = () => {};
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const ending = cli(['recover', '--import', module], { interrupt: (given) => (send = given) });
      await running;
      send('SIGINT');
      // Once for what runs, and once for the end.
      await vi.advanceTimersByTimeAsync(12_000);
      await vi.advanceTimersByTimeAsync(4_000);
      const ran = await ending;
      expect(ran).toMatchObject({ code: 1, stdout: '' });
      expect(ran.stderr).toMatch(
        /shutdown did not end within 12000 ms: tasks may not have been given back\.\n$/,
      );
    } finally {
      vi.useRealTimers();
    }
  });

  test('--documents: failed documents that are due; 1 when some fail again', async () => {
    const again = await cli(['recover', '--documents', '--json', '--import', (await prepared(false)).module]);
    expect(again.code).toBe(1);
    expect(documents.recover.parse(again.json)).toMatchObject({
      kind: 'documents',
      report: { found: 2, attempted: 2, succeeded: 0, failed: 2 },
    });
    const mended = await cli(['recover', '--documents', '--import', (await prepared(true)).module]);
    expect(mended.code).toBe(0);
    expect(mended.stdout).toMatch(/\n2 documents found, 2 tried, 2 succeeded, 0 failed, /);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s gives back what runs, and it still reports',
    async (signal) => {
      const { module, recovery } = await prepared(false);
      let send: ((signal: 'SIGINT' | 'SIGTERM') => void) | null = null;
      const started: unknown[] = [];
      recovery.on('processing_resumed', ({ task_id }) => {
        started.push(task_id);
        if (started.length === 2) send?.(signal);
      });
      const ran = await cli(['recover', '--json', '--import', module], {
        interrupt: (given) => void (send = given),
      });
      expect(ran.code).toBe(signal === 'SIGINT' ? 130 : 143);
      expect(documents.recover.parse(ran.json)).toMatchObject({
        report: { recovered: 2, tasks: [{ outcome: 'released' }, { outcome: 'released' }] },
      });
      const observer = createRecovery({ storage });
      expect(await observer.tasks.get('held-1')).toMatchObject({ status: 'orphaned', crashes: [] });
    },
  );

  test.each([['recover'], ['recover', '--documents']])(
    '%s %s without functions is refused',
    async (...args) => {
      const ran = await cli([...args, '--sqlite', 'not-even-opened.db']);
      expect(ran).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toMatch(/takes their functions: give the module that wraps them, --import/);
    },
  );
});

describe('redrive with functions', () => {
  test('tries a group again, due or not', async () => {
    const { module, recovery } = await prepared(true);
    const [group] = await recovery.failures.groups();
    const ran = await cli(['redrive', group?.fingerprint ?? '', '--json', '--import', module]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(documents.redrive.parse(ran.json)).toMatchObject({
      kind: 'documents',
      report: { found: 2, succeeded: 2 },
    });
  });

  test('fails when they fail again', async () => {
    const { module, recovery } = await prepared(false);
    const [group] = await recovery.failures.groups();
    const ran = await cli(['redrive', group?.fingerprint ?? '', '--import', module]);
    expect(ran.code).toBe(1);
    expect(ran.stdout).toMatch(/2 tried, 0 succeeded, 2 failed/);
  });
});
