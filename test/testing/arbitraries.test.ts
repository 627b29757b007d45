import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import * as fc from 'fast-check';
import byDefault from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkId } from '../../src/domain/ids.js';
import { createRecovery, memoryStorage } from '../../src/index.js';
import type { CheckpointInput, JsonValue, Recovery } from '../../src/index.js';
import { arbitraries, exploreCrashes, FaultyStorage } from '../../src/testing/index.js';
import { faultsOf } from '../../src/testing/explore/points.js';

const { json, taskId, checkpoint, error, failureReport, crashSchedule } = arbitraries(fc);
const sample = <T>(arbitrary: fc.Arbitrary<T>, many = 1_000): T[] =>
  fc.sample(arbitrary, { numRuns: many, seed: 1 });

/** A task that keeps a checkpoint and fails; called again, it returns what it resumed from. */
function keeper(recovery: Recovery): (id: string, input: CheckpointInput) => Promise<unknown> {
  return recovery.withRecovery(
    async (ctx, _id: string, input: CheckpointInput) => {
      if (ctx.attempt === 1) {
        await ctx.createCheckpoint(input);
        throw new Error('once');
      }
      const { name, recoverableData = null, databaseState = null } = ctx.lastCheckpoint ?? {};
      return { name, recoverableData, databaseState };
    },
    { name: 'keeper', taskId: (id) => id },
  );
}

function depthOf(value: JsonValue): number {
  let depth = 0;
  for (let at = value; typeof at === 'object' && at !== null; depth += 1) at = Object.values(at)[0] ?? null;
  return depth;
}

describe('arbitraries', () => {
  it('takes the module as a namespace or by its default export', () => {
    expect(sample(arbitraries(byDefault).taskId(), 5)).toEqual(sample(taskId(), 5));
  });

  it('json: comes back from JSON as it went in', () => {
    fc.assert(
      fc.property(json(), (value) => {
        const text = JSON.stringify(value);
        assert.ok(text.isWellFormed() && !/\\ud[89a-f]/.test(text));
        assert.deepEqual(JSON.parse(text), value);
      }),
      { numRuns: 1_000 },
    );
  });

  it('json: has what is rare elsewhere', () => {
    const values = sample(json());
    const text = values.map((value) => JSON.stringify(value)).join('\n');
    expect(text).toContain('"__proto__":');
    expect(text).toMatch(/[\u{10000}-\u{10ffff}]/u);
    expect(text).toContain(String.raw`\u00`);
    expect(Math.max(...values.map(depthOf))).toBeGreaterThan(200);
    expect(new Set(values.map((value) => (value === null ? 'null' : typeof value))).size).toBe(5);
  });

  it('taskId: is allowed, short and long, plain and odd', () => {
    const ids = sample(taskId());
    for (const id of ids) expect(checkId('The id', id)).toBe(id);
    expect(ids.some((id) => id.length === 256)).toBe(true);
    expect(ids).toContain('__proto__');
    expect(ids.some((id) => /[^\0-\u{ffff}]/u.test(id))).toBe(true);
  });

  it('checkpoint: is kept, and read by the next attempt as it was', async () => {
    const recovery = createRecovery({ storage: memoryStorage({ partitions: 4 }) });
    const call = keeper(recovery);
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(taskId(), checkpoint(), async (id, input) => {
        // The arguments of an id are its own.
        fc.pre(!seen.has(id));
        seen.add(id);
        const { name, recoverableData = null, databaseState = null } = input;
        await expect(call(id, input)).rejects.toThrow('once');
        assert.deepEqual(await call(id, input), { name, recoverableData, databaseState });
      }),
      { numRuns: 60 },
    );
    await recovery.shutdown();
  });

  it('error: looks like those of Node', () => {
    const errors = sample(error());
    const codes = new Set(errors.map((each) => ('code' in each ? each.code : null)));
    for (const code of ['ENOENT', 'ECONNREFUSED', 'ENOTFOUND', '23505', 'ERR_MODULE_NOT_FOUND'])
      expect(codes).toContain(code);
    expect(errors.every((each) => each instanceof Error)).toBe(true);
    expect(errors.some(({ cause }) => cause instanceof Error)).toBe(true);
    expect(new Set(errors.map(({ name }) => name))).toEqual(
      new Set([
        'Error',
        'TypeError',
        'RangeError',
        'SyntaxError',
        'AggregateError',
        'TimeoutError',
        'AbortError',
      ]),
    );
    expect(new Set(errors).size).toBe(errors.length);
    expect(inspect(errors.find((each) => each.message.startsWith('ENOENT')))).toMatch(/errno: -2/);
  });

  it('failureReport: is taken, listed and counted', async () => {
    const storage = new FaultyStorage();
    const { failures } = createRecovery({ storage });
    const paths = new Set<string>();
    await fc.assert(
      fc.asyncProperty(failureReport(), async (report) => {
        const id = await failures.record(report).catch((refused: unknown) => {
          // The same task under another path has other arguments.
          expect(refused).toMatchObject({ code: 'INPUT_MISMATCH' });
          return null;
        });
        if (id !== null) paths.add(id);
        const found = id === null ? null : await failures.get(id);
        if (id !== null) expect(found?.documentPath).toBe(report.documentPath);
      }),
      { numRuns: 200 },
    );
    expect(paths.size).toBeGreaterThan(100);
    expect(await failures.count()).toBe(paths.size);
  });

  it('crashSchedule: gives paths for exploreCrashes', async () => {
    const schedules = sample(crashSchedule({ places: 7, depth: 3 }), 300);
    const all = schedules.flatMap((path) => faultsOf(path) ?? expect.unreachable(path));
    expect(new Set(all.map(({ at }) => at))).toEqual(new Set([1, 2, 3, 4, 5, 6, 7]));
    expect(new Set(all.map(({ fault }) => fault)).size).toBe(4);
    expect(sample(crashSchedule({ places: 3 })).every((path) => !path.includes('/'))).toBe(true);
    await fc.assert(
      fc.asyncProperty(crashSchedule({ places: 4, depth: 3 }), async (path) => {
        const report = await exploreCrashes({
          define: (recovery, world) =>
            recovery.withRecovery(
              async (ctx, total: number) => {
                await ctx.step('charge', () => world.effect(ctx.idempotencyKey('charge'), total));
                return total;
              },
              { name: 'pay', taskId: () => 't' },
            ),
          input: 12,
          path,
        });
        expect(report.runs).toBe(3);
      }),
      { numRuns: 60 },
    );
  });

  it.each([{}, { places: 0 }, { places: 1, depth: 4 }, { places: 1, faults: [] }])('refuses %j', (odd) => {
    expect(() => Reflect.apply(crashSchedule, undefined, [odd])).toThrow(/^crashSchedule:/);
  });
});
