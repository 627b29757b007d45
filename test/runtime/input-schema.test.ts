import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from 'vitest';
import type { SchemaIssue, SchemaResult, StandardSchema } from '../../src/domain/schema.js';
import type { WrappedTask } from '../../src/runtime/with-recovery.js';
import { rejectionOf, SWEEP_MS, trapUnhandledRejections, untilAborted, World } from './harness.js';
import { die, fieldsOf, startQuietly, swept, written } from './lab.js';

trapUnhandledRejections();

interface Raw {
  readonly rows: string | number;
  readonly note?: string;
}
interface Parsed {
  readonly rows: number;
  readonly note: string;
}

type Validate<O> = (value: unknown) => SchemaResult<O> | Promise<SchemaResult<O>>;

function schemaOf<I, O>(validate: Validate<O>): StandardSchema<I, O> {
  return { '~standard': { version: 1, vendor: 'test', validate } };
}

/** Rows from `least` on; a text of digits will do. What is left out is filled in. */
function rowsFrom(least: number, later = false, asked: unknown[] = []): StandardSchema<Raw, Parsed> {
  return schemaOf<Raw, Parsed>((value) => {
    asked.push(value);
    const given = typeof value === 'object' && value !== null ? value : {};
    const rows = Number(Reflect.get(given, 'rows'));
    const note: unknown = Reflect.get(given, 'note') ?? 'none';
    const issues: SchemaIssue[] = [];
    if (!(rows >= least)) issues.push({ message: `at least ${least}`, path: ['rows'] });
    if (typeof note !== 'string') issues.push({ message: 'a text', path: [{ key: 'note' }, 'text'] });
    const result = issues.length > 0 ? { issues } : { value: { rows, note: String(note) } };
    return later ? Promise.resolve(result) : result;
  });
}

const OPTIONS = { name: 'n', taskId: () => 't' } as const;

describe('input schemas', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  it.each([false, true])(
    'the function gets the parsed value, the raw one is stored (async: %s)',
    async (later) => {
      const { recovery } = world.proc();
      const task = recovery.withRecovery((_ctx, input) => input, { ...OPTIONS, input: rowsFrom(1, later) });
      await expect(task({ rows: '7' })).resolves.toEqual({ rows: 7, note: 'none' });
      expect((await fieldsOf(world))?.['input']).toBe('[{"rows":"7"}]');
    },
  );

  it.each([false, true])('refused at the call by path, and nothing is written (async: %s)', async (later) => {
    const proc = world.proc();
    let runs = 0;
    const taskIds: unknown[] = [];
    const task = proc.recovery.withRecovery(() => (runs += 1), {
      name: 'n',
      taskId: (input) => `t${taskIds.push(input)}`,
      input: rowsFrom(1, later),
    });
    const bad: Raw = JSON.parse('{ "rows": 0, "note": 5 }');
    expect(await rejectionOf(task(bad))).toMatchObject({
      code: 'INPUT_INVALID',
      retryable: false,
      message: 'The input of "n" does not fit its schema: rows: at least 1; note.text: a text.',
      details: {
        issues: [
          { path: 'rows', message: 'at least 1' },
          { path: 'note.text', message: 'a text' },
        ],
      },
    });
    expect(await rejectionOf(task.start(bad))).toMatchObject({ code: 'INPUT_INVALID' });
    expect([runs, taskIds, await proc.recovery.tasks.list()]).toEqual([0, [], { tasks: [], next: null }]);
    expect(written(proc)).not.toContain('"h:');
  });

  it('other arguments under the same id are told by the raw input, not by the parsed one', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery((_ctx, { rows }) => rows, { ...OPTIONS, input: rowsFrom(1) });
    await expect(task({ rows: '7' })).resolves.toBe(7);
    await expect(task({ rows: '7' })).resolves.toBe(7);
    expect(await rejectionOf(task({ rows: 7 }))).toMatchObject({ code: 'INPUT_MISMATCH' });
    expect(await rejectionOf(task({ rows: '7', note: 'none' }))).toMatchObject({ code: 'INPUT_MISMATCH' });
  });

  it.each([false, true])(
    'checked again at recovery, which gets it parsed anew (async: %s)',
    async (later) => {
      const old = world.proc();
      const asked: unknown[] = [];
      const task = old.recovery.withRecovery(
        (ctx, input) => (ctx.attempt === 1 ? untilAborted(ctx) : input),
        {
          ...OPTIONS,
          input: rowsFrom(1, later, asked),
        },
      );
      await startQuietly(task, { rows: '7' });
      await die(world, old);
      const next = world.proc();
      task.with(next.recovery);
      await expect(swept(world, next)).resolves.toMatchObject({ recovered: 1, failed: 0 });
      expect(asked).toEqual([{ rows: '7' }, { rows: '7' }]);
      await expect(task.with(next.recovery)({ rows: '7' })).resolves.toEqual({ rows: 7, note: 'none' });
    },
  );

  it.each<[string, StandardSchema<Raw, Parsed>]>([
    ['refuses what is stored', rowsFrom(10)],
    ['refuses it later', rowsFrom(10, true)],
  ])('a changed schema that %s: failed with INPUT_INVALID, not run, not retried', async (_what, input) => {
    const old = world.proc();
    const options = { ...OPTIONS, maxAttempts: 5 };
    await startQuietly(old.recovery.withRecovery(untilAborted, { ...options, input: rowsFrom(1) }), {
      rows: '7',
    });
    await die(world, old);
    const next = world.proc();
    let runs = 0;
    next.recovery.withRecovery(() => (runs += 1), { ...options, input });
    await expect(swept(world, next)).resolves.toMatchObject({
      recovered: 1,
      failed: 1,
      tasks: [{ outcome: 'failed', error: expect.stringContaining('at least 10') }],
    });
    await world.clock.advance(5 * SWEEP_MS);
    expect(runs).toBe(0);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'failed',
      attempt: 2,
      error: { code: 'INPUT_INVALID', message: expect.stringContaining('at least 10') },
    });
    // With a schema that takes it again, it can be put back.
    const fixed = world.proc();
    fixed.recovery.withRecovery((_ctx, { rows }) => rows, { ...options, input: rowsFrom(5) });
    await fixed.recovery.tasks.requeue('t');
    await expect(swept(world, fixed)).resolves.toMatchObject({ recovered: 1, failed: 0 });
  });

  it('a schema that throws on recovery has judged nothing: it is tried again', async () => {
    const old = world.proc();
    const options = { ...OPTIONS, maxAttempts: 3 };
    const { withRecovery } = old.recovery;
    await startQuietly(withRecovery(untilAborted, { ...options, input: rowsFrom(1) }), { rows: '7' });
    await die(world, old);
    const next = world.proc();
    let asked = 0;
    const input = schemaOf<Raw, Parsed>(async (value) => {
      asked += 1;
      if (asked === 1) throw new Error('no table');
      return rowsFrom(1)['~standard'].validate(value);
    });
    next.recovery.withRecovery((_ctx, { rows }) => rows, { ...options, input });
    await expect(swept(world, next)).resolves.toMatchObject({ recovered: 1, deferred: 1 });
    await world.clock.advance(5_000);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed', errorCount: 1 });
  });

  it.each<[string, Validate<Parsed>]>([
    [
      'throws',
      () => {
        throw new Error('no table');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no table'))],
  ])('a schema that %s at the call: INPUT_INVALID, and nothing is written', async (_what, validate) => {
    const proc = world.proc();
    const task = proc.recovery.withRecovery(() => 1, { ...OPTIONS, input: schemaOf(validate) });
    expect(await rejectionOf(task({ rows: 1 }))).toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('no table'),
      cause: { message: 'no table' },
    });
    expect(await fieldsOf(world)).toBeNull();
  });

  it('a parsed value need not be JSON, it is never stored', async () => {
    const { recovery } = world.proc();
    const input = schemaOf<string, Date>((value) => ({ value: new Date(String(value)) }));
    const task = recovery.withRecovery((_ctx, at) => at.getTime(), { ...OPTIONS, input });
    await expect(task('1970-01-01T00:00:01Z')).resolves.toBe(1_000);
    expect((await fieldsOf(world))?.['input']).toBe('["1970-01-01T00:00:01Z"]');
  });

  it('the raw value must be JSON', async () => {
    const input = schemaOf<Date, number>(() => ({ value: 1 }));
    const task = world.proc().recovery.withRecovery((_ctx, at) => at, { ...OPTIONS, input });
    expect(await rejectionOf(task(new Date(0)))).toMatchObject({ code: 'NOT_JSON' });
    expect(await fieldsOf(world)).toBeNull();
  });

  it.each([{}, { '~standard': {} }, { '~standard': { validate: 1 } }, null, 'zod'])(
    'refuses %j as a schema',
    (input) => {
      const { withRecovery } = world.proc().recovery;
      expect(() => Reflect.apply(withRecovery, null, [() => 1, { name: 'n', input }])).toThrow(
        expect.objectContaining({
          code: 'INVALID_OPTION',
          message: expect.stringContaining('Standard Schema'),
        }),
      );
    },
  );

  it('types: callers give the input of the schema, the function gets its output', () => {
    const { withRecovery } = world.proc().recovery;
    const input = rowsFrom(1);
    const task = withRecovery(
      (_ctx, given) => {
        expectTypeOf(given).toEqualTypeOf<Parsed>();
        return given.rows;
      },
      { name: 'n', input, taskId: (raw) => String(raw.rows), validate: () => ({ complete: 5 }) },
    );
    expectTypeOf(task).toEqualTypeOf<WrappedTask<[input: Raw], number>>();
    const never: (() => unknown)[] = [
      // @ts-expect-error a list is no row count
      () => task({ rows: [] }),
      // @ts-expect-error one argument, no more
      () => task({ rows: 1 }, 2),
      // @ts-expect-error the function wants what the schema does not give
      () => withRecovery((_ctx, given: string) => given, { name: 'm', input }),
      // @ts-expect-error the hook gets the raw input, which has no such part
      () => withRecovery(() => 1, { name: 'o', input, taskId: (raw) => raw.id }),
    ];
    expect(never).toHaveLength(4);
    expect(task.taskName).toBe('n');
  });
});
