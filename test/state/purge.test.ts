import { describe, expect, it } from 'vitest';
import { claim } from '../../src/runtime/claims.js';
import { CheckpointStore } from '../../src/state/checkpoint-store.js';
import { decodeHead } from '../../src/state/head.js';
import type { Head } from '../../src/state/head.js';
import { keys } from '../../src/state/keys.js';
import { purgeStep, RECORDS_A_BATCH } from '../../src/state/purge.js';
import { piecesOf } from '../../src/state/removal.js';
import { Store } from '../../src/state/store.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { engineWith, handlerWith } from '../runtime/fakes.js';
import { ManualClock } from '../support/manual-clock.js';

const STAMP = { nonce: 'n', notAfter: 1, atMs: 0 };

/** A completed task of so many steps, as a storage may give it that keeps the fields of a record in no order. */
function headOf(steps: number, purged: number | null, turned = false): Head {
  const fields: [string, string][] = [
    ['token', '5.a.1'],
    ['status', 'completed'],
    ['name', 'n'],
    ['attempt', '1'],
    ['createdAt', '1'],
    ['endedAt', '2'],
    ['r:c', '3'],
    ...Array.from({ length: steps }, (_, at): [string, string] => [`s:step-${at}`, 'r']),
    ...(purged === null ? [] : [['purging', String(purged)] satisfies [string, string]]),
  ];
  return decodeHead('t', new Map(turned ? fields.toReversed() : fields));
}

describe('the removal of a task', () => {
  it('of few records is one batch', () => {
    const { batch, rest, records } = purgeStep(headOf(RECORDS_A_BATCH - 3, null), STAMP);
    expect([rest, batch.guard.next, batch.remove?.length]).toEqual([null, null, RECORDS_A_BATCH + 5]);
    expect(records).toBe(RECORDS_A_BATCH + 6);
  });

  it('of one record more begins with a mark', () => {
    const head = headOf(RECORDS_A_BATCH - 2, null);
    const { batch, rest, records } = purgeStep(head, STAMP);
    expect([records, batch.remove?.length]).toEqual([RECORDS_A_BATCH, RECORDS_A_BATCH]);
    expect(rest).toEqual({ ...head, token: batch.guard.next, purged: RECORDS_A_BATCH });
    expect(batch.set).toEqual([{ key: keys.head('t'), fields: { purging: String(RECORDS_A_BATCH) } }]);
    expect(batch.guard).toMatchObject({ key: keys.head('t'), expect: '5.a.1' });
    expect([batch.index, batch.notAfter]).toEqual([undefined, 1]);
  });

  it('takes every record once, in whatever order the fields of the head come', () => {
    const steps = 3 * RECORDS_A_BATCH - 100;
    const removed: string[] = [];
    let purged: number | null = null;
    for (let pages = 0; ; pages += 1) {
      const { batch, rest } = purgeStep(headOf(steps, purged, pages % 2 === 1), STAMP);
      removed.push(...(batch.remove ?? []));
      if (rest === null) break;
      purged = (purged ?? 0) + RECORDS_A_BATCH;
    }
    const others = [keys.input, keys.result, keys.control, keys.failure, keys.quarantine].map((key) =>
      key('t'),
    );
    expect(removed.toSorted()).toEqual([...piecesOf(headOf(steps, null)), ...others].toSorted());
  });

  it('of one that is marked beyond its end goes on with the head', () => {
    const { batch, rest } = purgeStep(headOf(3, 5_000), STAMP);
    expect([rest, batch.guard.next]).toEqual([null, null]);
  });

  it('that is under way leaves no checkpoint to be seen', async () => {
    const clock = new ManualClock();
    const storage = memoryStorage({ clock });
    const checkpoints = new CheckpointStore(new Store(storage, 'n', clock, 1_000));
    const auto = JSON.stringify({ percent: 5, step: null, atMs: 1 });
    const fields = { status: 'completed', name: 'n', attempt: '1', createdAt: '1', auto };
    const key = keys.head('t');
    const guard = { key, expect: null, next: '5.a.1' };
    await storage.commit('n:0', [{ guard, notAfter: 1e15, set: [{ key, fields }] }]);
    expect(await checkpoints.latest('t')).toMatchObject({ progressPercent: 5 });
    const mark = { guard: { key, expect: '5.a.1', next: '5.b.1' }, set: [{ key, fields: { purging: '0' } }] };
    await storage.commit('n:0', [mark]);
    expect(await checkpoints.latest('t')).toBeNull();
    expect(await checkpoints.list('t')).toEqual([]);
  });

  it('that is under way is claimed by nobody', async () => {
    const claimed = claim(engineWith({}), handlerWith(), headOf(3, 1), 'retried');
    expect(await claimed).toEqual({ kind: 'lost' });
  });
});
