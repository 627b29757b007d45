/** Recovery of failed documents by several processes: each document once a run, whoever dies, and no two runs at once. */
import { expect, test } from 'vitest';
import type { DocumentRecoveryConfig, FailedDocumentRecord } from '../../src/index.js';
import { keys } from '../../src/state/keys.js';
import type { Report, WorkerProcess } from './support/worker-process.js';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

endWithEachTest();

/** Due again at once: whatever keeps a document from another attempt is not the wait. */
const AT_ONCE: DocumentRecoveryConfig = { minRetryIntervalMs: 1, maxRetryIntervalMs: 1, periodic: false };

const named = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `order-${String(index).padStart(3, '0')}`);

/** One process makes the failures, and is gone. */
async function failures(world: World, ids: readonly string[]): Promise<void> {
  const maker = await world.worker();
  await Promise.all(ids.map((id) => maker.call('start', 'document', { id })));
  await Promise.all(ids.map((id) => maker.heard({ type: 'result', id })));
  await maker.call('shutdown');
  await maker.kill();
}

const listed = async (world: World): Promise<readonly FailedDocumentRecord[]> =>
  (await world.observer.failures.list({ limit: 1_000 })).documents;

const statusOf = async (worker: WorkerProcess): Promise<Report> =>
  Object(await worker.call('documents', 'getStatus'));

const recover = async (worker: WorkerProcess): Promise<Report> =>
  Object(await worker.call('documents', 'recover'));

async function allDue(worker: WorkerProcess, count: number): Promise<void> {
  const due = async (): Promise<unknown> => (await statusOf(worker))['documents_eligible_for_retry'];
  await expect.poll(due, { timeout: 10_000 }).toBe(count);
}

const idsOf = (reports: readonly Report[]): string[] => reports.map(({ id }) => String(id)).toSorted();

/** The ids of all attempts so far with this number, by the outside witness. */
const tried = (world: World, attempt: number): string[] => idsOf(world.journal({ type: 'tried', attempt }));

const sum = (reports: readonly Report[], field: string): number =>
  reports.reduce((total, report) => total + Number(report[field]), 0);

test.each(KINDS)('two processes at once try each of 500 documents once a round: %s', async (kind) => {
  const world = await makeWorld(kind);
  const ids = named(500);
  const [early, late] = [ids.slice(0, 400), ids.slice(400)];
  await failures(world, early);
  const documents = { ...AT_ONCE, maxRetries: 2, concurrency: 20, batchSize: 50 };
  const pair = await Promise.all([world.worker({ documents }), world.worker({ documents })]);
  const attempts = (): Report[] => world.journal({ type: 'tried' });
  const rounds = [
    { due: early, retried: 400, givenUp: 0 },
    // Those that come late are where the others were: one that has failed now is among those that had before.
    { due: ids, retried: 900, givenUp: 400 },
    { due: late, retried: 1_000, givenUp: 500 },
  ];
  for (const [round, { due, retried, givenUp }] of rounds.entries()) {
    if (round === 1) await failures(world, late);
    await allDue(pair[0], due.length);
    await Promise.all(pair.map((worker) => worker.call('document', 'hold')));
    const before = attempts().length;
    const inHand = pair.map((worker) => worker.all({ type: 'tried' }).length);
    const runs = Promise.all(pair.map(recover));
    // Both have begun when the first one fails: what is due again at once is none of their business.
    const begun = (): boolean =>
      pair.every((worker, at) => worker.all({ type: 'tried' }).length > (inHand[at] ?? 0));
    await expect.poll(begun, { timeout: 10_000 }).toBe(true);
    await Promise.all(pair.map((worker) => worker.call('document', 'release')));
    const reports = await runs;
    expect(idsOf(attempts().slice(before))).toEqual(due);
    expect(sum(reports, 'attempted')).toBe(due.length);
    expect(sum(reports, 'failed')).toBe(due.length);
    for (const worker of pair) {
      expect(await statusOf(worker)).toMatchObject({
        total_failed_documents: round === 0 ? early.length : ids.length,
        dead_letters: givenUp,
        recovery_attempts: retried,
        failed_recoveries: retried,
        successful_recoveries: 0,
        recovery_success_rate: 0,
        running: false,
      });
    }
    for (const { taskId, status, retryCount, recoveryAttempts } of await listed(world)) {
      const tries = Math.min(documents.maxRetries, late.includes(taskId) ? round : round + 1);
      const spent = tries === documents.maxRetries ? 'dead_letter' : 'failed';
      expect([taskId, status, retryCount, recoveryAttempts]).toEqual([taskId, spent, tries, tries]);
    }
  }
  for (const worker of pair)
    expect(await recover(worker)).toMatchObject({ found: 0, attempted: 0, deadLettered: 0 });
  // The first failure of each, and two retries.
  expect(attempts()).toHaveLength(3 * ids.length);
});

test.each(KINDS)(
  'what is in hand when its process is killed counts, and nothing is lost: %s',
  async (kind) => {
    const world = await makeWorld(kind);
    const ids = named(40);
    await failures(world, ids);
    const documents = { ...AT_ONCE, concurrency: 6, batchSize: 8 };
    const killed = await world.worker({ documents });
    await allDue(killed, ids.length);
    await killed.call('document', 'hold');
    // Never answered.
    recover(killed).catch(() => {});
    const begun = (): number => killed.all({ type: 'tried' }).length;
    await expect.poll(begun, { timeout: 10_000 }).toBe(documents.concurrency);
    await killed.kill();
    const inHand = tried(world, 2);
    expect(inHand).toHaveLength(documents.concurrency);
    for (const { taskId, status, retryCount } of await listed(world)) {
      const expected = inHand.includes(taskId) ? ['processing', 1] : ['failed', 0];
      expect([taskId, status, retryCount]).toEqual([taskId, ...expected]);
    }
    const heir = await world.worker({ documents });
    expect(await statusOf(heir)).toMatchObject({
      total_failed_documents: ids.length,
      documents_eligible_for_retry: ids.length - inHand.length,
      recovery_attempts: inHand.length,
    });
    await heir.call('document', 'mend');
    await heir.call('startup');
    // At once, those that ran; and the first run of documents has the others.
    expect(await heir.heard({ type: 'finished' })).toMatchObject({ recovered: inHand.length, failed: 0 });
    await expect.poll(() => world.observer.failures.count(), { timeout: 10_000 }).toBe(0);
    expect(tried(world, 2)).toEqual(ids);
    expect(tried(world, 3)).toEqual(inHand);
    expect(world.journal({ type: 'tried' })).toHaveLength(2 * ids.length + inHand.length);
    for (const id of ids) expect(await world.task(id)).toMatchObject({ status: 'completed' });
    expect(await statusOf(heir)).toMatchObject({
      recovery_attempts: ids.length,
      successful_recoveries: ids.length,
      failed_recoveries: 0,
      recovery_success_rate: 1,
    });
  },
);

const PERIODIC: DocumentRecoveryConfig = {
  ...AT_ONCE,
  maxRetries: 50,
  periodic: true,
  recoveryIntervalMs: 200,
  concurrency: 1,
};
const LEASE_MS = 1_000;

test.each(KINDS)('periodic runs of two processes never overlap: %s', async (kind) => {
  const world = await makeWorld(kind);
  // A few: whoever comes in between finds no run under way most of the time, long before all retries are used up.
  await failures(world, named(6));
  const options = { documents: PERIODIC, leaseMs: LEASE_MS };
  const pair = await Promise.all([world.worker(options), world.worker(options)]);
  await Promise.all(pair.map((worker) => worker.call('startup')));
  const runs = (): number =>
    Math.min(...pair.map((worker) => worker.all({ type: 'progress', attempted: 1 }).length));
  await expect.poll(runs, { timeout: 20_000 }).toBeGreaterThanOrEqual(3);
  await Promise.all(pair.map((worker) => worker.kill()));
  // A run goes on where it was: nothing of another process is in between.
  let last: { pid: unknown; attempted: number } = { pid: null, attempted: 0 };
  for (const { pid, attempted } of world.journal({ type: 'progress' })) {
    const now = { pid, attempted: Number(attempted) };
    if (now.attempted > 1) expect(now).toEqual({ pid: last.pid, attempted: last.attempted + 1 });
    last = now;
  }
});

test.each(KINDS)('a run that outlasts its lease is alone; a death passes the lease on: %s', async (kind) => {
  const world = await makeWorld(kind);
  const ids = named(12);
  await failures(world, ids);
  const options = { documents: PERIODIC, leaseMs: LEASE_MS, sweepIntervalMs: 200 };
  const until = async (): Promise<number> => {
    const { records } = await world.storage.read(world.home, [keys.documentLease]);
    return Number(records[0]?.get('until'));
  };
  const first = await world.worker(options);
  await first.call('document', 'hold');
  await first.call('startup');
  const { id: inHand } = await first.heard({ type: 'tried' });
  const begunUntil = await until();
  const second = await world.worker(options);
  await second.call('document', 'mend');
  await second.call('startup');
  // Long enough for the second one to have asked for it twice.
  await expect.poll(until, { timeout: 20_000 }).toBeGreaterThan(begunUntil + 2 * LEASE_MS);
  expect(second.all({ type: 'tried' })).toEqual([]);
  await first.kill();
  await expect.poll(() => world.observer.failures.count(), { timeout: 20_000 }).toBe(0);
  // The one in hand is taken up as any task of a dead process is.
  expect(second.all({ type: 'tried', attempt: 3 })).toMatchObject([{ id: inHand }]);
  expect(tried(world, 2)).toEqual(ids);
});
