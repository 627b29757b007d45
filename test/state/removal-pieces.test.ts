import { expect, it } from 'vitest';
import { decodeHead } from '../../src/state/head.js';
import { removeBatch } from '../../src/state/removal.js';

const removed = (fields: Record<string, string>): readonly string[] => {
  const head = { token: '7.n.3', status: 'failed', name: 'n', attempt: '1', createdAt: '5', ...fields };
  return (
    removeBatch(decodeHead('t', new Map(Object.entries(head))), { nonce: 'x', notAfter: 9, atMs: 0 })
      .remove ?? []
  );
};

it('finds the ledger of a map that was only being discovered', () => {
  expect(removed({ 'd:m:any': '3' })).toEqual(
    expect.arrayContaining(['m0:5:m:any:t', 'm1:5:m:any:t', 'm2:5:m:any:t']),
  );
});

it('believes the mark of a map more than what was written while it was being discovered', () => {
  const keys = removed({ 'd:m': '3', 'm:m': '2,9,4,0' });
  expect(keys.filter((key) => key.startsWith('m'))).toEqual(['m0:1:m:t', 'm1:1:m:t']);
});

it('takes the record of a step along that is kept in the head now', () => {
  expect(removed({ 's:one': 'u', 's:two': 'r' })).toEqual(expect.arrayContaining(['p3:one:t', 'p3:two:t']));
});

it.each(['', 'x', '0', '-1', '99999999'])('makes nothing of a number of buckets that is none: %j', (odd) => {
  try {
    expect(removed({ 'd:m': odd }).filter((key) => key.startsWith('m'))).toEqual([]);
  } catch (error) {
    expect(error).toMatchObject({ code: 'CORRUPT_RECORD' });
  }
});
