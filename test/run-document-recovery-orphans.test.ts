/** What a run of its own finds of earlier ones: nobody else would take it back. */
import { expect, it, onTestFinished } from 'vitest';
import { runDocumentRecovery } from '../src/run-document-recovery.js';
import { createRecovery } from '../src/runtime/create-recovery.js';
import type { Recovery } from '../src/runtime/recovery.js';
import { memoryStorage } from '../src/storage/memory.js';
import type { Storage } from '../src/storage/storage.js';
import { gate } from './runtime/harness.js';

const LEASE_MS = 15_000;

/** A storage whose time is the test's, with a document that is due. */
async function due(): Promise<{ storage: Storage; owner: Recovery; pass(ms: number): void }> {
  let nowMs = 1_700_000_000_000;
  const storage = memoryStorage({ clock: { wallMs: () => nowMs } });
  const owner = createRecovery({ storage, leaseMs: LEASE_MS });
  onTestFinished(() => owner.shutdown({ timeoutMs: 10 }));
  await owner.failures.record({ documentPath: '/a', error: new Error('broken') });
  nowMs += 7_200_000;
  return { storage, owner, pass: (ms) => void (nowMs += ms) };
}

it('goes on with an attempt whose process is gone, once its lease is over, without another retry', async () => {
  const { storage, owner, pass } = await due();
  const begun = gate();
  const first = runDocumentRecovery({
    storage,
    leaseMs: LEASE_MS,
    process: async (_record, ctx) => {
      begun.open();
      await new Promise((_resolve, reject) => {
        ctx.signal.addEventListener('abort', () => reject(new Error('gone')));
      });
    },
  });
  await begun.passed;
  const alive = await runDocumentRecovery({ storage, process: () => 'too early' });
  expect(alive).toMatchObject({ found: 0, attempted: 0 });
  pass(LEASE_MS + 1);
  const tried: number[] = [];
  const second = await runDocumentRecovery({
    storage,
    process: ({ retryCount }) => {
      tried.push(retryCount);
      return 'done';
    },
  });
  expect([tried, second]).toMatchObject([[1], { found: 1, attempted: 1, succeeded: 1 }]);
  expect(await owner.failures.count()).toBe(0);
  expect((await owner.tasks.get('/a'))?.status).toBe('completed');
  // The zombie hears of it with its next beat, seconds from now; nobody waits for that here.
  first.catch(() => {});
});

it('takes what was put back', async () => {
  const { storage, owner } = await due();
  await owner.failures.requeue('/a');
  expect(await runDocumentRecovery({ storage, process: () => 'done' })).toMatchObject({
    found: 1,
    succeeded: 1,
  });
  expect(await owner.failures.count()).toBe(0);
});

it('leaves tasks alone that are no failed documents', async () => {
  const { storage, owner, pass } = await due();
  const begun = gate();
  const other = owner.withRecovery(
    () => {
      begun.open();
      return new Promise(() => {});
    },
    { name: 'document', taskId: () => 'other' },
  );
  other().catch(() => {});
  await begun.passed;
  pass(LEASE_MS + 1);
  const seen: string[] = [];
  await runDocumentRecovery({ storage, process: ({ taskId }) => void seen.push(taskId) });
  expect(seen).toEqual(['/a']);
  expect((await owner.tasks.get('other'))?.status).toBe('processing');
});
