import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { FailureReport } from '../../src/state/failure-filter.js';
import { keys } from '../../src/state/keys.js';
import { rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc } from './harness.js';
import { die, fieldsOf, startQuietly, swept } from './lab.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

const PATH = '/in/7.pdf';
const gone = (): Error => Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' });
const boom = (): never => {
  throw gone();
};

describe('a task that is known', () => {
  const record = ({ recovery }: Proc, change: Partial<FailureReport> = {}): Promise<string> =>
    recovery.failures.record({ documentPath: PATH, error: gone(), taskId: 't', name: 'n', ...change });

  /** Task "t". */
  const wrapped = (
    { recovery }: Proc,
    work: (ctx: RecoveryContext, path: string) => unknown,
    tracked = true,
  ) =>
    recovery.withRecovery(work, {
      name: 'n',
      taskId: () => 't',
      ...(tracked ? { document: (path: string) => path } : {}),
    });

  it('has failed once more: when it failed first stays, and what is not said anew', async () => {
    const proc = world.proc();
    await rejectionOf(wrapped(proc, boom)(PATH));
    await rejectionOf(wrapped(world.proc(), boom)(PATH));
    const since = world.clock.wallMs();
    await record(proc, { metadata: { page: 3 } });
    await world.clock.advance(50);
    await record(proc, { error: new TypeError('newest') });
    expect(await proc.recovery.failures.get('t')).toMatchObject({
      status: 'failed',
      errorName: 'TypeError',
      errorMessage: 'newest',
      failedAtMs: since,
      lastAttemptAtMs: since + 50,
      retryCount: 1,
      recoveryAttempts: 1,
      metadata: { page: 3 },
    });
    expect(await proc.recovery.failures.count({ category: 'file_not_found' })).toBe(0);
    await record(proc, { metadata: null });
    expect((await proc.recovery.failures.get('t'))?.metadata).toBeNull();
  });

  it('that was completed is done afresh: no step, item, checkpoint or key of before', async () => {
    const proc = world.proc();
    const ran: string[] = [];
    const seen: unknown[] = [];
    const task = wrapped(proc, async (ctx) => {
      seen.push([ctx.resumedFrom, ctx.lastCheckpoint, ctx.reached('c')]);
      await ctx.step('small', () => void ran.push('small'));
      await ctx.step('big', () => `${'x'.repeat(ran.push('big'))}${'x'.repeat(500)}`);
      await ctx.map('m', ['a'], (item) => void ran.push(item), { key: String });
      await ctx.createCheckpoint({ name: 'c', progressPercent: 50 });
      return `${ctx.idempotencyKey('k')}${'x'.repeat(2_000)}`;
    });
    const before = await task(PATH);
    await record(proc);
    const { failures, tasks, checkpoints } = proc.recovery;
    expect(await tasks.get('t')).toMatchObject({ status: 'failed', progressPercent: 0, items: null });
    expect([await checkpoints.list('t'), await fieldsOf(world, keys.result('t'))]).toEqual([[], null]);
    expect(await fieldsOf(world, keys.ledger('t', 'm', 0))).toBeNull();
    expect(Object.keys((await fieldsOf(world)) ?? {}).filter((name) => /^[rsm]:/.test(name))).toEqual([]);
    const after = await task(PATH);
    const once = ['small', 'big', 'a'];
    expect(ran).toEqual([...once, ...once]);
    expect(seen).toEqual([
      [null, null, false],
      [null, null, false],
    ]);
    expect(after).not.toBe(before);
    expect([await failures.count(), (await tasks.get('t'))?.status]).toEqual([0, 'completed']);
  });

  it.each([true, false])(
    'that was given up stays so, with the newest error; tracked: %s',
    async (tracked) => {
      const first = world.proc({ maxCrashes: 1 });
      if (tracked) await rejectionOf(wrapped(first, boom)(PATH));
      const second = world.proc({ maxCrashes: 1 });
      await startQuietly(wrapped(second, untilAborted, tracked), PATH);
      await die(world, second);
      const third = world.proc({ maxCrashes: 1 });
      wrapped(third, untilAborted, tracked);
      await swept(world, third);
      const { failures, tasks, documents } = third.recovery;
      expect((await tasks.get('t'))?.status).toBe('dead_letter');
      await record(third, { error: new TypeError('newest'), metadata: 1 });
      expect(await failures.get('t')).toMatchObject({
        status: 'dead_letter',
        errorMessage: 'newest',
        documentPath: PATH,
        metadata: 1,
      });
      expect((await tasks.get('t'))?.error).toMatchObject({ message: 'newest' });
      await world.clock.advance(90_000_000);
      expect(await documents.getStatus()).toMatchObject({
        total_failed_documents: 1,
        dead_letters: 1,
        documents_eligible_for_retry: 0,
      });
      expect([await failures.remove('t'), await failures.count()]).toEqual([true, 0]);
      expect(await documents.getStatus()).toMatchObject({ total_failed_documents: 0, dead_letters: 0 });
    },
  );

  it.each(['processing', 'orphaned', 'cancelled'] as const)('that is %s is left as it is', async (status) => {
    const proc = world.proc();
    await startQuietly(wrapped(proc, untilAborted), PATH);
    if (status === 'cancelled') await proc.recovery.tasks.cancel('t');
    if (status === 'orphaned') await world.until(proc.recovery.shutdown({ timeoutMs: 1_000 }));
    await world.clock.advance(1);
    const before = await fieldsOf(world);
    expect(before?.['status']).toBe(status);
    const reporter = world.proc();
    expect(await rejectionOf(record(reporter))).toMatchObject({
      code: 'WRONG_STATE',
      details: { taskId: 't', status },
    });
    expect([await fieldsOf(world), await reporter.recovery.failures.count()]).toEqual([before, 0]);
  });

  it('of another name, or with other arguments, is another one: INPUT_MISMATCH', async () => {
    const proc = world.proc();
    await wrapped(proc, () => 1)(PATH);
    const before = await fieldsOf(world);
    for (const change of [{ name: 'other' }, { args: ['/in/8.pdf'] }, { args: [] }]) {
      expect(await rejectionOf(record(proc, change))).toMatchObject({ code: 'INPUT_MISMATCH' });
    }
    expect([await fieldsOf(world), await proc.recovery.failures.count()]).toEqual([before, 0]);
    await expect(record(proc, { args: [PATH] })).resolves.toBe('t');
  });

  it('keeps its arguments when the report says none', async () => {
    const proc = world.proc();
    const seen: unknown[] = [];
    const task = wrapped(proc, (_ctx, path) => void seen.push(path));
    await task('/its/own');
    await record(proc);
    await task('/its/own');
    expect(seen).toEqual(['/its/own', '/its/own']);
  });
});

describe('a document that was reported', () => {
  it('is tried again by its task, with the path; a failure keeps path, query and metadata', async () => {
    const proc = world.proc({ documents: { maxRetries: 3, minRetryIntervalMs: 1_000 } });
    const { failures, documents, tasks, withRecovery } = proc.recovery;
    const id = await failures.record({
      documentPath: '/in/{7}',
      error: 1,
      query: 'Q 7',
      metadata: { page: 3 },
    });
    const seen: unknown[][] = [];
    let mended = false;
    withRecovery(
      (_ctx, ...given: unknown[]) => {
        seen.push(given);
        if (!mended) throw new TypeError('again');
        return 'text';
      },
      { name: 'document', taskId: () => 'unused' },
    );
    expect(await documents.recover()).toMatchObject({ found: 0 });
    await world.clock.advance(1_500);
    expect(await world.until(documents.recover())).toMatchObject({ found: 1, attempted: 1, failed: 1 });
    expect(await failures.get(id)).toMatchObject({
      status: 'failed',
      documentPath: '/in/{7}',
      query: 'Q 7',
      metadata: { page: 3 },
      errorName: 'TypeError',
      errorMessage: 'again',
      retryCount: 1,
      recoveryAttempts: 1,
    });
    expect(await proc.recovery.documents.analyze()).toMatchObject({
      total: 1,
      query_patterns: { 'Q #': 1 },
    });
    mended = true;
    await world.clock.advance(3_000);
    expect(await world.until(documents.recover())).toMatchObject({ found: 1, succeeded: 1 });
    expect(seen).toEqual([['/in/{7}'], ['/in/{7}']]);
    expect([await failures.count(), (await tasks.get(id))?.status]).toEqual([0, 'completed']);
    expect(await fieldsOf(world, keys.failure(id))).toBeNull();
  });
});
