import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  hashOf,
  HASH_NAME,
  indexes,
  KEPT_CHECKPOINTS,
  keys,
  PRIORITY_BAND,
  priorityBase,
} from '../../src/state/keys.js';
import { plainStore } from './manual-storage.js';

const id = fc.string({ minLength: 1, maxLength: 20 });

describe('partitions', () => {
  // Stored namespaces depend on these numbers: a change strands every task in them.
  it.each([
    ['', 2166136261],
    ['a', 3826002220],
    ['invoice-7', 3976803472],
    ['😀', 3409036472],
    ['é', 1812687940],
    ['process-document:42', 2841128392],
  ])('the hash of %j is stable', (text, hash) => {
    expect(HASH_NAME).toBe('fnv1a-utf16');
    expect(hashOf(text)).toBe(hash);
  });

  it('property: an id always has one of the partitions, the same one each time', () => {
    const { store } = plainStore(3);
    fc.assert(
      fc.property(id, (text) => {
        expect(store.partitions).toContain(store.partitionOf(text));
        expect(store.partitionOf(text)).toBe(plainStore(3).store.partitionOf(text));
      }),
    );
  });

  it('spread over all of them', () => {
    const { store } = plainStore(3);
    const used = new Set(Array.from({ length: 100 }, (_, n) => store.partitionOf(`task-${n}`)));
    expect(used).toEqual(new Set(store.partitions));
  });
});

describe('keys', () => {
  it('property: no id can imitate the key of another record', () => {
    fc.assert(
      fc.property(id, id, fc.nat(20), (a, b, seq) => {
        const all = (taskId: string): string[] => [
          keys.head(taskId),
          keys.input(taskId),
          keys.result(taskId),
          keys.control(taskId),
          keys.quarantine(taskId),
          keys.worker(taskId),
          keys.slot(taskId),
          keys.checkpoint(taskId, seq),
        ];
        expect(new Set(all(a)).size).toBe(8);
        const shared = all(a).filter((key) => all(b).includes(key));
        expect(shared.length).toBe(a === b ? 8 : 0);
        expect(all(a)).not.toContain(keys.meta);
      }),
    );
  });

  it('checkpoints form a ring', () => {
    const ring = Array.from({ length: 12 }, (_, seq) => keys.checkpoint('t', seq));
    expect(new Set(ring).size).toBe(KEPT_CHECKPOINTS);
    expect(ring[11]).toBe(ring[6]);
  });

  it('indexes of names and states are kept apart', () => {
    expect(indexes.inState('orphaned', 'a:b')).not.toBe(indexes.inState('orphaned', 'a'));
    expect(
      new Set([
        indexes.stuck('n'),
        indexes.quarantined('n'),
        indexes.held('n'),
        indexes.inState('failed', 'n'),
      ]).size,
    ).toBe(4);
  });
});

it('property: the queue is in priority order first, then in the order of time', () => {
  const time = fc.integer({ min: 0, max: 4_102_444_800_000 });
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 10 }),
      fc.integer({ min: 0, max: 10 }),
      time,
      time,
      (p, q, s, t) => {
        const [first, second] = [priorityBase(p) + s, priorityBase(q) + t];
        if (p !== q) expect(first < second).toBe(p > q);
        else expect(first < second).toBe(s < t);
      },
    ),
  );
  expect(Number.isSafeInteger(priorityBase(0) + PRIORITY_BAND)).toBe(true);
});
