import { describe, expect, it } from 'vitest';
import { areThresholds, judge, thresholdsOf } from '../../src/monitoring/thresholds.js';
import type { Judged } from '../../src/monitoring/thresholds.js';

const FINE: Judged = {
  stalled: 0,
  processing: 0,
  queue: 0,
  oldestProcessingMs: null,
  successRatePercent: null,
};

/** By default: the figure, at its threshold, and just beyond it. */
const EDGES = [
  ['stalled', 'stalled', 10, 11],
  ['processing', 'processing', 50, 51],
  ['queue', 'queue', 100, 101],
  ['oldestProcessingMs', 'oldest_processing', 3_600_000, 3_600_001],
  ['successRatePercent', 'success_rate', 90, 89.999],
] as const;

describe('a threshold', () => {
  it('is not crossed by nothing', () => {
    expect(judge(FINE, thresholdsOf())).toEqual([]);
  });

  it.each(EDGES)('%s is crossed beyond it, not at it', (figure, code, at, beyond) => {
    expect(judge({ ...FINE, [figure]: at }, thresholdsOf())).toEqual([]);
    expect(judge({ ...FINE, [figure]: beyond }, thresholdsOf())).toMatchObject([
      { code, severity: 'degraded', value: beyond, threshold: at },
    ]);
  });

  it.each(EDGES)('%s can be moved and switched off, the others stay', (figure, code, at, beyond) => {
    const judged = { ...FINE, [figure]: beyond };
    expect(judge(judged, thresholdsOf({ [figure]: beyond }))).toEqual([]);
    expect(judge(judged, thresholdsOf({ [figure]: null }))).toEqual([]);
    expect(judge(judged, thresholdsOf({ [figure]: undefined }))).toMatchObject([{ code, threshold: at }]);
    for (const [other, otherCode, , otherBeyond] of EDGES.filter(([name]) => name !== figure))
      expect(judge({ ...judged, [other]: otherBeyond }, thresholdsOf({ [figure]: null }))).toMatchObject([
        { code: otherCode },
      ]);
  });

  it('stands in for others one by one', () => {
    const own = thresholdsOf({ stalled: 1, queue: null });
    expect(thresholdsOf({ queue: 7 }, own)).toEqual({ ...own, queue: 7 });
    expect(thresholdsOf({ stalled: null }, own)).toEqual({ ...own, stalled: null });
  });

  it('is told in words', () => {
    const judged = { ...FINE, stalled: 12, oldestProcessingMs: 7_265_000, successRatePercent: 200 / 3 };
    expect(judge(judged, thresholdsOf()).map(({ message }) => message)).toEqual([
      'running tasks without progress: 12, over 10.',
      'the oldest attempt has been running for 7265 s, over 3600 s.',
      'of the recoveries of the last 24 h 66.7 % succeeded, under 90 %.',
    ]);
  });

  it.each([
    [null, 'must be an object'],
    [[], 'must be an object'],
    [
      { stuck: 1 },
      'has no "stuck" (known: stalled, processing, queue, oldestProcessingMs, successRatePercent)',
    ],
    [{ toString: 1 }, 'has no "toString" (known: '],
    [{ stalled: -1 }, 'stalled must be a whole number from 0 to '],
    [{ queue: 1.5 }, 'queue must be a whole number from 0 to '],
    [{ processing: '5' }, 'processing must be a whole number from 0 to '],
    [{ successRatePercent: 101 }, 'successRatePercent must be a number from 0 to 100, or null'],
    [{ oldestProcessingMs: Number.NaN }, 'oldestProcessingMs must be a whole number from 0 to '],
  ])('%j is refused', (given, problem) => {
    expect(areThresholds(given)).toContain(problem);
  });

  it.each([{}, { stalled: 0 }, { queue: null }, { processing: undefined }, { successRatePercent: 99.5 }])(
    '%j is taken',
    (given) => {
      expect(areThresholds(given)).toBeNull();
    },
  );
});
