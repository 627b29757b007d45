import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { FenceMemory } from '../../src/runtime/fence-memory.js';

it('property: remembers the highest fence of each task', () => {
  const entries = fc.array(fc.tuple(fc.constantFrom('a', 'b', '__proto__'), fc.nat()));
  fc.assert(
    fc.property(entries, (held) => {
      const memory = new FenceMemory();
      for (const [id, fence] of held) memory.remember(id, fence);
      for (const id of ['a', 'b', '__proto__', 'never']) {
        expect(memory.highest(id)).toBe(
          Math.max(0, ...held.filter(([each]) => each === id).map(([, fence]) => fence)),
        );
      }
    }),
  );
});

it('is bounded: the tasks not heard of for longest are forgotten', () => {
  const memory = new FenceMemory();
  for (let n = 0; n < 10_000; n += 1) memory.remember(`t${n}`, n + 1);
  memory.remember('t0', 1);
  memory.remember('new', 7);
  expect([memory.highest('t0'), memory.highest('t1'), memory.highest('t2'), memory.highest('new')]).toEqual([
    1, 0, 3, 7,
  ]);
});
