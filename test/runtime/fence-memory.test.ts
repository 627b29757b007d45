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

it('is bounded: what was not heard of in the last 5,000 to 10,000 tasks is forgotten', () => {
  const memory = new FenceMemory();
  const remembered = (): number =>
    Array.from({ length: 20_000 }, (_, n) => memory.highest(`t${n}`)).filter((fence) => fence > 0).length;
  memory.remember('early', 7);
  for (let n = 0; n < 20_000; n += 1) {
    memory.remember(`t${n}`, n + 1);
    if (n % 4_000 === 0) memory.remember('early', 3);
    if (n % 2_500 !== 0) continue;
    expect([memory.highest('early'), memory.highest(`t${n}`)]).toEqual([7, n + 1]);
    expect(memory.highest(`t${Math.max(0, n - 4_990)}`)).toBe(Math.max(0, n - 4_990) + 1);
    expect(remembered()).toBeLessThanOrEqual(10_000);
  }
});
