import { describe, expect, it } from 'vitest';
import { decodeHead } from '../../src/state/head.js';
import type { Head } from '../../src/state/head.js';
import { keys } from '../../src/state/keys.js';
import { purgeStep, RECORDS_A_BATCH } from '../../src/state/purge.js';
import { piecesOf } from '../../src/state/removal.js';

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
    expect([rest, batch.guard.next, batch.remove?.length]).toEqual([null, null, RECORDS_A_BATCH + 4]);
    expect(records).toBe(RECORDS_A_BATCH + 5);
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
    const others = [keys.input('t'), keys.result('t'), keys.control('t'), keys.failure('t')];
    expect(removed.toSorted()).toEqual([...piecesOf(headOf(steps, null)), ...others].toSorted());
  });

  it('of one that is marked beyond its end goes on with the head', () => {
    const { batch, rest } = purgeStep(headOf(3, 5_000), STAMP);
    expect([rest, batch.guard.next]).toEqual([null, null]);
  });
});
