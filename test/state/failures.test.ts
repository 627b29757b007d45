import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MOST_RETRIES } from '../../src/domain/document-recovery.js';
import {
  decodeFailure,
  exhausted,
  failed,
  failureIndexes,
  forgotten,
  isRetry,
  onceMore,
  requeued,
  retried,
  waveOf,
  WAVES,
} from '../../src/state/failures.js';
import type { Failure, FailureChange, KnownFailure } from '../../src/state/failures.js';

const ID = 't';
const FIRST_MS = 70;
const OPEN_MS = 75;
const NOW = { fromNow: 0 };

function failure(change: Partial<Failure> = {}): Failure {
  return {
    retryCount: 0,
    attempts: 0,
    fingerprint: 'f1',
    category: 'network',
    worker: 'w1',
    queryPattern: 'q1',
    version: '1',
    ...change,
  };
}

const known = (change: Partial<Failure> = {}): KnownFailure => ({
  failure: failure(change),
  failedAtMs: FIRST_MS,
  openAtMs: OPEN_MS,
});

const waiting = (count: number): string => `failures:retry:${count}:${waveOf(ID, count)}`;

/** The entries of one change by index; a change says one thing about an entry. */
function entriesOf(index: FailureChange['index']): Record<string, unknown> {
  const pairs = index.map((entry) => [`${entry.index} ${entry.id}`, entry.score] as const);
  expect(new Set(pairs.map(([name]) => name)).size).toBe(pairs.length);
  return Object.fromEntries(pairs);
}

describe('a change of a failure', () => {
  it('comes in under all its facets, open, and waits for its first retry', () => {
    const { head, index } = failed(ID, null, failure());
    expect(head).toEqual({ failure: JSON.stringify(failure()), failedAt: NOW });
    expect(entriesOf(index)).toEqual({
      'failures t': NOW,
      'failures:fingerprint:f1 t': NOW,
      'failures:category:network t': NOW,
      'failures:worker:w1 t': NOW,
      'failures:query:q1 t': NOW,
      'failures:fingerprints f1': NOW,
      'failures:categorys network': NOW,
      'failures:workers w1': NOW,
      'failures:querys q1': NOW,
      [`failures:retries 0:${waveOf(ID, 0)}`]: NOW,
      [`${waiting(0)} t`]: NOW,
      'failures:open t': NOW,
    });
  });

  it('has no facet of a query without one', () => {
    const { index } = failed(ID, null, failure({ queryPattern: null }));
    expect(index.filter(({ index: name }) => name.includes('query'))).toEqual([]);
  });

  it('keeps when it failed first, and leaves the facets that it has no more', () => {
    const again = failure({ retryCount: 3, fingerprint: 'f2', worker: 'w2', queryPattern: null });
    const { head, index } = failed(ID, known({ retryCount: 3 }), again);
    expect(head).toEqual({ failure: JSON.stringify(again) });
    expect(entriesOf(index)).toEqual({
      'failures t': FIRST_MS,
      'failures:fingerprint:f1 t': null,
      'failures:worker:w1 t': null,
      'failures:query:q1 t': null,
      'failures:fingerprint:f2 t': FIRST_MS,
      'failures:category:network t': FIRST_MS,
      'failures:worker:w2 t': FIRST_MS,
      'failures:fingerprints f2': NOW,
      'failures:categorys network': NOW,
      'failures:workers w2': NOW,
      [`failures:retries 3:${waveOf(ID, 3)}`]: NOW,
      [`${waiting(3)} t`]: NOW,
      'failures:open t': OPEN_MS,
      'failures:trying t': null,
    });
  });

  it('counts a retry when it is taken up, and waits for nothing meanwhile', () => {
    const { head, index } = retried(ID, known({ retryCount: 2, attempts: 5 }), 'retried');
    expect(head).toEqual({ failure: JSON.stringify(failure({ retryCount: 3, attempts: 6 })) });
    expect(entriesOf(index)).toEqual({
      [`${waiting(2)} t`]: null,
      'failures:dead t': null,
      'failures:open t': OPEN_MS,
      'failures:trying t': NOW,
    });
    expect(onceMore(failure({ retryCount: 2, attempts: 5 }), 'retried')).toEqual(
      failure({ retryCount: 3, attempts: 6 }),
    );
  });

  it('that was put back before has one attempt more, and no retry less', () => {
    const { head } = retried(ID, known({ retryCount: 0, attempts: 5 }), 'requeued');
    expect(head).toEqual({ failure: JSON.stringify(failure({ retryCount: 0, attempts: 6 })) });
  });

  it.each([
    ['retried', true],
    ['requeued', true],
    ['lease_over', false],
    ['owner_dead', false],
    ['slot_taken_over', false],
    ['released', false],
    ['own', false],
    ['retry_due', false],
  ] as const)('a takeover of one that is %s is another try: %s', (cause, another) => {
    expect(isRetry(cause)).toBe(another);
  });

  it('has its whole retention again when it is reported by hand', () => {
    const { head, index } = failed(ID, known(), failure(), { waits: true, reported: true });
    expect(head).toMatchObject({ openAt: NOW });
    expect(entriesOf(index)).toMatchObject({ 'failures:open t': NOW, 'failures t': FIRST_MS });
    expect(failed(ID, known(), failure()).head).not.toHaveProperty('openAt');
    expect(failed(ID, null, failure(), { waits: true, reported: true }).head).not.toHaveProperty('openAt');
  });

  const DEAD = { waits: false, reported: true };

  it('waits for nothing when it is given up already: known as such if it was none before', () => {
    const again = entriesOf(failed(ID, known(), failure({ category: 'disk' }), DEAD).index);
    const waits = Object.keys(again).filter((name) => /retry|retries|open|dead/.test(name));
    expect([waits, again['failures:category:disk t']]).toEqual([[], FIRST_MS]);
    const fresh = entriesOf(failed(ID, null, failure(), DEAD).index);
    expect(fresh).toMatchObject({ 'failures t': NOW, 'failures:dead t': NOW });
    expect(Object.keys(fresh).filter((name) => /retry|retries|open/.test(name))).toEqual([]);
  });

  it('is dead once its tries are used up, and no longer open', () => {
    expect(entriesOf(exhausted(ID, failure({ retryCount: 4 })))).toEqual({
      [`${waiting(4)} t`]: null,
      'failures:open t': null,
      'failures:dead t': NOW,
      'failures:trying t': null,
    });
  });

  it('has all its retries again when it is requeued, but not fewer attempts', () => {
    const { head, index } = requeued(ID, known({ retryCount: 2, attempts: 5 }));
    expect(head).toEqual({ failure: JSON.stringify(failure({ retryCount: 0, attempts: 5 })), openAt: NOW });
    expect(entriesOf(index)).toEqual({
      [`${waiting(2)} t`]: null,
      'failures:dead t': null,
      'failures:open t': NOW,
      'failures:trying t': NOW,
    });
  });

  it('is forgotten everywhere that any change may have put it', () => {
    const count = fc.integer({ min: 0, max: 2 * MOST_RETRIES });
    const word = fc.constantFrom('a', 'b', 'c:d', '');
    const some = fc.record({
      retryCount: count,
      attempts: count,
      fingerprint: word,
      category: word,
      worker: word,
      queryPattern: fc.option(word),
      version: word,
    });
    fc.assert(
      fc.property(some, some, fc.boolean(), (before, after, dead) => {
        const own = new Set<string>();
        const apply = (changes: FailureChange['index']): void => {
          for (const { index, id, score } of changes) {
            if (id !== ID) continue;
            if (score === null) own.delete(index);
            else own.add(index);
          }
        };
        const first = { failure: before, failedAtMs: FIRST_MS, openAtMs: OPEN_MS };
        apply(failed(ID, null, before).index);
        apply(retried(ID, first, 'retried').index);
        const last = { ...after, retryCount: before.retryCount + 1 };
        apply(failed(ID, { ...first, failure: onceMore(before, 'retried') }, last).index);
        expect([...own].filter((index) => index.startsWith('failures:retry:'))).toHaveLength(1);
        if (dead) apply(exhausted(ID, last));
        expect(own.has('failures:open')).toBe(!dead);
        expect(own.has('failures:dead')).toBe(dead);
        const { head, index } = forgotten(ID, last);
        apply(index);
        expect([...own]).toEqual([]);
        expect(head).toEqual({ failure: '', failedAt: '', openAt: '' });
      }),
    );
  });
});

describe('the place where a document waits', () => {
  const placeOf = (retryCount: number, id = ID): string | undefined =>
    failed(id, null, failure({ retryCount })).index.find(
      ({ index }) => index === failureIndexes.waitingPlaces,
    )?.id;

  it('is one of few for the highest counts', () => {
    const last = `${MOST_RETRIES}:${waveOf(ID, MOST_RETRIES)}`;
    expect(placeOf(MOST_RETRIES - 1)).toBe(`${MOST_RETRIES - 1}:${waveOf(ID, MOST_RETRIES - 1)}`);
    expect([placeOf(MOST_RETRIES), placeOf(MOST_RETRIES + 1), placeOf(9_999)]).toEqual([last, last, last]);
  });

  it('is always the same, and lies in one of the waves', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), (id, count) => {
        const wave = waveOf(id, count);
        expect(wave).toBe(waveOf(id, count));
        expect(Number.isInteger(wave) && wave >= 0 && wave < WAVES).toBe(true);
      }),
    );
    // They are stored: an upgrade must find them where they are.
    expect([0, 1, 2, 3].map((count) => waveOf('read:/data/a-1.pdf', count))).toMatchInlineSnapshot(`
      [
        2,
        7,
        0,
        5,
      ]
    `);
  });

  it.each([0, 1, 7, 50])('spreads the retries of count %i over all waves', (count) => {
    const counts = Array.from({ length: WAVES }, () => 0);
    for (let n = 0; n < 8_000; n += 1) {
      const wave = waveOf(`read:/data/file-${n}.pdf`, count);
      counts[wave] = (counts[wave] ?? 0) + 1;
    }
    for (const found of counts) expect(found).toBeGreaterThan(700);
    for (const found of counts) expect(found).toBeLessThan(1_300);
  });

  it('changes from one retry to the next, so that no two documents share all their waves', () => {
    const ways = new Set<string>();
    for (let n = 0; n < 200; n += 1) {
      const id = `read:${n}`;
      ways.add([0, 1, 2, 3, 4].map((count) => waveOf(id, count)).join());
    }
    expect(ways.size).toBeGreaterThan(40);
  });
});

describe('a failure as it stands in a head', () => {
  it('comes back as it was', () => {
    expect(decodeFailure(JSON.parse(JSON.stringify(failure({ queryPattern: null }))))).toEqual(
      failure({ queryPattern: null }),
    );
  });

  it.each([null, 7, 'x', [], {}, { ...failure(), retryCount: '1' }, { ...failure(), fingerprint: null }])(
    'is none when it is %j',
    (value) => {
      expect(decodeFailure(value)).toBeNull();
    },
  );

  it('does without what is not needed to keep the indexes right', () => {
    expect(decodeFailure({ retryCount: 2, fingerprint: 'f', category: 'c' })).toEqual({
      retryCount: 2,
      attempts: 2,
      fingerprint: 'f',
      category: 'c',
      worker: '',
      queryPattern: null,
      version: '',
    });
  });
});
