/** Whatever there is, of any age: a clean-up takes what is out of its retention, whole, and touches nothing else. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Retention } from '../../src/domain/operations.js';
import { settled } from '../support/manual-clock.js';
import { busy, DAY_MS, HOUR_MS, insideOf, remainsOf } from './cleaner-lab.js';
import type { Inside } from './cleaner-lab.js';
import { untilAborted } from './harness.js';
import { startQuietly } from './lab.js';

const STATES = ['completed', 'cancelled', 'failed', 'dead_letter', 'processing', 'orphaned'] as const;
type State = (typeof STATES)[number];
const KEPT = {
  completed: 'completedMs',
  cancelled: 'cancelledMs',
  failed: 'failedMs',
  dead_letter: 'deadLetterMs',
} as const;

interface Made {
  readonly state: State;
  readonly name: string;
  /** Since the one before. */
  readonly afterMs: number;
  readonly document: boolean;
  readonly long: boolean;
  readonly size: Parameters<typeof busy>[1];
}

const AGES = [0, 1, HOUR_MS, DAY_MS, 8 * DAY_MS] as const;
const NAMES = ['a', 'b'] as const;
const made: fc.Arbitrary<Made> = fc.record({
  state: fc.constantFrom(...STATES),
  name: fc.constantFrom(...NAMES),
  afterMs: fc.constantFrom(...AGES),
  document: fc.boolean(),
  long: fc.boolean(),
  size: fc.record({ steps: fc.nat(3), items: fc.nat(3), checkpoints: fc.nat(7) }),
});
const period = fc.constantFrom(undefined, null, 0, HOUR_MS, 2 * DAY_MS, 20 * DAY_MS);
const retentions: fc.Arbitrary<Retention> = fc.record({
  completedMs: period,
  cancelledMs: period,
  failedMs: period,
  deadLetterMs: period,
});
const DEFAULTS = {
  completedMs: 7 * DAY_MS,
  cancelledMs: 7 * DAY_MS,
  failedMs: 30 * DAY_MS,
  deadLetterMs: 30 * DAY_MS,
};

const idOf = (at: number): string => `t${String(at).padStart(3, '0')}`;

/** Makes a task and brings it into its state. */
async function make(
  { proc }: Inside,
  taskId: string,
  given: Made,
  retentionMs?: number | null,
): Promise<void> {
  const { state, name, document, long, size } = given;
  const { recovery } = proc();
  const decide = () => ({ action: 'dead_letter' as const, reason: 'because', evidence: {} });
  const ends = state === 'completed';
  const lives = state === 'processing' || state === 'cancelled';
  const task = recovery.withRecovery(
    async (ctx, text: string) => {
      await busy(ctx, size);
      if (lives) await untilAborted(ctx);
      if (!ends) throw new Error(text);
      return text;
    },
    {
      name,
      taskId: () => taskId,
      strategies: [{ name: 's', decide }],
      ...(document ? { document: () => taskId } : {}),
      ...(retentionMs === undefined ? {} : { retentionMs }),
    },
  );
  const text = long ? 'x'.repeat(5_000) : 'x';
  if (lives) await startQuietly(task, text);
  else
    for (let calls = 0; calls < (state === 'dead_letter' ? 2 : 1); calls += 1)
      await task(text).catch(() => {});
  for (let turns = 0; turns < 3; turns += 1) await settled();
  if (state === 'cancelled') await recovery.tasks.cancel(taskId);
  if (state === 'orphaned') await recovery.tasks.requeue(taskId);
  await settled();
  expect(await recovery.tasks.get(taskId)).toMatchObject({ status: state });
}

const schedule = fc.record({
  partitions: fc.constantFrom(1, 3),
  tasks: fc.array(made, { maxLength: 12 }),
  retention: retentions,
  own: fc.record({ a: period, b: period }),
  limit: fc.option(fc.integer({ min: 1, max: 6 }), { freq: 2 }),
});

test(
  'property: what is out of its retention goes, whole; what stays is the same',
  { timeout: 60_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(schedule, async ({ partitions, tasks, retention, own, limit }) => {
        const inside = insideOf(partitions);
        const { clock } = inside.world;
        const endedMs: number[] = [];
        for (const [at, each] of tasks.entries()) {
          clock.stepWall(each.afterMs);
          await make(inside, idOf(at), each, each.name === 'a' ? own.a : own.b);
          endedMs.push(clock.wallMs());
        }
        const isOld = (at: number): boolean => {
          const { state = 'processing', name = 'a' } = tasks[at] ?? {};
          if (state === 'processing' || state === 'orphaned') return false;
          const kept = retention[KEPT[state]];
          // The last worker with the name has spoken for it.
          const said = name === 'a' ? own.a : own.b;
          const keptMs = said === undefined ? (kept === undefined ? DEFAULTS[KEPT[state]] : kept) : said;
          return keptMs !== null && (endedMs[at] ?? Infinity) + keptMs <= clock.wallMs();
        };
        const ids = tasks.map((_, at) => idOf(at));
        const before = ids.map((id) => remainsOf(inside.partitions, id));
        const cleaner = inside.proc({ retention });
        const counts: Record<string, number> = { completed: 0, cancelled: 0, failed: 0, dead_letter: 0 };
        for (let rounds = 0; ; rounds += 1) {
          const report = await cleaner.recovery.cleanup(limit === null ? {} : { limit });
          let removed = 0;
          for (const state of ['completed', 'cancelled', 'failed', 'dead_letter'] as const) {
            counts[state] = (counts[state] ?? 0) + report[state];
            removed += report[state];
          }
          expect(removed).toBeLessThanOrEqual(limit ?? Infinity);
          if (!report.more) break;
          expect(rounds).toBeLessThan(20);
        }
        const wanted: Record<string, number> = { completed: 0, cancelled: 0, failed: 0, dead_letter: 0 };
        for (const [at, id] of ids.entries()) {
          const state = tasks[at]?.state ?? '';
          if (isOld(at)) wanted[state] = (wanted[state] ?? 0) + 1;
          expect({ id, state, remains: remainsOf(inside.partitions, id) }).toEqual({
            id,
            state,
            remains: isOld(at) ? [] : before[at],
          });
        }
        expect(counts).toEqual(wanted);
        // It would take no more.
        expect(await cleaner.recovery.cleanup()).toMatchObject({
          completed: 0,
          cancelled: 0,
          failed: 0,
          dead_letter: 0,
        });
      }),
      { numRuns: 60 },
    );
  },
);
