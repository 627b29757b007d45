import * as fc from 'fast-check';
import { describe, expect, expectTypeOf, it, test } from 'vitest';
import type * as z from 'zod';
import { DOCUMENT_LIMITS, documentSettingsOf } from '../../src/domain/document-recovery.js';
import type {
  DocumentRecoveryConfig,
  DocumentStatus,
  FailureAnalysis,
  FailedDocumentRecord,
  FailureGroup,
} from '../../src/index.js';
import { isRecoveryError } from '../../src/errors.js';
import {
  documentRecoveryConfigSchema,
  documentStatusSchema,
  failedDocumentSchema,
  failureAnalysisSchema,
  failureGroupSchema,
} from '../../src/schemas/index.js';
import { LEASE_MS, rejectionOf, World } from '../runtime/harness.js';
import { die, startQuietly } from '../runtime/lab.js';

test('the schemas have the types of the library', () => {
  expectTypeOf<z.output<typeof failedDocumentSchema>>().toEqualTypeOf<FailedDocumentRecord>();
  expectTypeOf<z.output<typeof failureGroupSchema>>().toEqualTypeOf<FailureGroup>();
  expectTypeOf<z.output<typeof documentStatusSchema>>().toEqualTypeOf<DocumentStatus>();
  expectTypeOf<z.output<typeof failureAnalysisSchema>>().toEqualTypeOf<FailureAnalysis>();
  expectTypeOf<z.input<typeof documentRecoveryConfigSchema>>().toEqualTypeOf<DocumentRecoveryConfig>();
});

describe('what a tracker gives', () => {
  const documents = { minRetryIntervalMs: 10, maxRetryIntervalMs: 10, maxRetries: 1, periodic: false };
  const whatever = fc.record({
    id: fc.constantFrom('a', 'b', 'c'),
    what: fc.constantFrom('fail', 'crash', 'report', 'recover', 'requeue'),
    message: fc.string(),
    code: fc.constantFrom(undefined, 'ENOENT', 7),
    // A pattern of this name is a known loss: zod's records leave the key out.
    query: fc.option(
      fc.string().filter((text) => !text.includes('__proto__')),
      { nil: undefined },
    ),
    metadata: fc.jsonValue(),
  });

  it('property: parses, as it is and by way of JSON, and comes out as it went in', async () => {
    const seen = { documents: 0, statuses: new Set<string>() };
    await fc.assert(
      fc.asyncProperty(fc.array(whatever, { maxLength: 8 }), async (schedule) => {
        const world = new World(2);
        let { recovery } = world.proc({ documents });
        for (const { id, what, message, code, query, metadata } of schedule) {
          const proc = world.proc({ documents });
          recovery = proc.recovery;
          const error = Object.assign(new TypeError(message), { code });
          const task = recovery.withRecovery(
            (_ctx, _id: string): Promise<void> =>
              what === 'crash' ? new Promise(() => {}) : Promise.reject(error),
            {
              name: 'n',
              taskId: (given: string) => given,
              document: (given: string) => `/in/${given}`,
              query: () => query ?? '',
            },
          );
          const status = (await recovery.tasks.get(id))?.status;
          if (what === 'fail' && status !== 'dead_letter') await rejectionOf(world.until(task(id)));
          if (what === 'crash' && status !== 'dead_letter') {
            await startQuietly(task, id);
            await die(world, proc);
          }
          if (what === 'report')
            await recovery.failures
              .record({ documentPath: id, taskId: `r-${id}`, name: 'n', error, query, metadata })
              .catch(() => {});
          if (what === 'recover') await world.until(recovery.documents.recover());
          if (what === 'requeue') await recovery.failures.requeue(id).catch(() => {});
          await world.clock.advance(LEASE_MS);
        }
        const { failures } = world.proc({ documents }).recovery;
        const check = (schema: z.ZodType, value: unknown): void => {
          expect(schema.parse(value)).toEqual(value);
          const text = JSON.stringify(value);
          expect(JSON.stringify(schema.parse(JSON.parse(text)))).toBe(text);
        };
        const { documents: listed } = await failures.list();
        for (const record of listed) {
          seen.documents += 1;
          seen.statuses.add(record.status);
          check(failedDocumentSchema, record);
        }
        for (const group of await failures.groups()) check(failureGroupSchema, group);
        const manager = world.proc({ documents }).recovery.documents;
        check(documentStatusSchema, await manager.getStatus());
        check(failureAnalysisSchema, await manager.analyze());
      }),
      { numRuns: 40 },
    );
    expect(seen.documents).toBeGreaterThan(40);
    expect(seen.statuses.size).toBeGreaterThan(1);
  });

  it.each([
    ['a record', failedDocumentSchema, {}],
    ['a record', failedDocumentSchema, null],
    ['a group', failureGroupSchema, { count: 1 }],
    ['a status', documentStatusSchema, { running: true }],
    ['an analysis', failureAnalysisSchema, { total: 1, ages: {} }],
  ])('what is not %s is refused', (_, schema, value) => {
    expect(schema.safeParse(value).success).toBe(false);
  });

  it('what a newer version adds is left out', () => {
    const group: FailureGroup = {
      fingerprint: 'f',
      count: 1,
      category: 'other',
      errorName: 'E',
      errorMessage: '',
      frame: null,
      newestTaskId: 't',
    };
    expect(failureGroupSchema.parse({ ...group, more: 1 })).toEqual(group);
  });
});

describe('documentRecoveryConfigSchema', () => {
  const accepts = (config: unknown): boolean => {
    try {
      Reflect.apply(documentSettingsOf, null, ['it', config]);
      return true;
    } catch (error) {
      if (isRecoveryError(error, 'INVALID_OPTION')) return false;
      throw error;
    }
  };
  const odd = fc.oneof(
    fc.constantFrom(
      null,
      undefined,
      '',
      '1',
      NaN,
      Infinity,
      -Infinity,
      -0,
      0.5,
      1n,
      true,
      [],
      {},
      () => null,
    ),
    fc.anything(),
  );
  const valueOf = (limits: readonly [number, number]): fc.Arbitrary<unknown> => {
    const [lowest, highest] = limits;
    const edges = fc.constantFrom(lowest - 1, lowest, lowest + 0.5, highest, highest + 1);
    return fc.oneof(
      { weight: 20, arbitrary: fc.integer({ min: lowest, max: highest }) },
      { weight: 2, arbitrary: edges },
      odd,
    );
  };
  const mostly = <T>(usual: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
    fc.oneof({ weight: 20, arbitrary: usual }, { weight: 1, arbitrary: odd });
  const configs = fc.record(
    {
      ...Object.fromEntries(Object.entries(DOCUMENT_LIMITS).map(([name, limits]) => [name, valueOf(limits)])),
      periodic: mostly(fc.boolean()),
      categorize: mostly(fc.constant(() => null)),
      onProgress: mostly(fc.constant(() => undefined)),
    },
    { requiredKeys: [] },
  );
  const unknown = fc.dictionary(fc.string(), odd, { maxKeys: 1, noNullPrototype: true });

  it('property: accepts what the library accepts, and changes nothing', () => {
    const seen = { accepted: 0, refused: 0 };
    const given = fc.oneof(
      { weight: 8, arbitrary: configs },
      { weight: 2, arbitrary: fc.tuple(configs, unknown).map(([config, more]) => ({ ...config, ...more })) },
      odd,
    );
    fc.assert(
      fc.property(given, (config) => {
        const right = accepts(config);
        const parsed = documentRecoveryConfigSchema.safeParse(config);
        expect(parsed.success).toBe(right);
        if (parsed.success) expect(parsed.data).toEqual(config);
        seen[right ? 'accepted' : 'refused'] += 1;
      }),
      { numRuns: 3_000 },
    );
    expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(300);
  });

  it.each(Object.entries(DOCUMENT_LIMITS))('%s: the same bounds', (name, [lowest, highest]) => {
    const rest = name === 'maxRetryIntervalMs' ? { minRetryIntervalMs: 1 } : {};
    for (const [value, right] of [
      [lowest - 1, false],
      [lowest, true],
      [highest, true],
      [highest + 1, false],
    ] as const) {
      const config = { ...rest, [name]: value };
      expect(accepts(config)).toBe(right);
      expect(documentRecoveryConfigSchema.safeParse(config).success).toBe(right);
    }
  });

  it.each([
    [{ maxRetryIntervalMs: 1 }, false],
    [{ maxRetryIntervalMs: 3_600_000 }, true],
    [{ minRetryIntervalMs: 2 * 86_400_000 }, true],
    [{ minRetryIntervalMs: 2, maxRetryIntervalMs: 1 }, false],
    [{ minRetryIntervalMs: 2, maxRetryIntervalMs: 2 }, true],
    [{ maxRetires: 1 }, false],
    [{ maxRetires: undefined }, false],
    [{ maxRetries: undefined }, true],
    [JSON.parse('{"__proto__":1}'), false],
  ] as const)('%j: %s', (config, right) => {
    expect(accepts(config)).toBe(right);
    expect(documentRecoveryConfigSchema.safeParse(config).success).toBe(right);
  });
});
