import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Decision, RecoveryStrategy, TaskSnapshot } from '../../src/domain/task.js';
import { RecoveryPlanner } from '../../src/recovery/planner.js';
import { defaultStrategies } from '../../src/recovery/strategies.js';
import { automaticAt, checkpointAt, crashesAt, NOW_MS, snapshotOf, taskAt } from './snapshot.js';

function deepFrozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFrozen(member);
  }
  return value;
}

function says(name: string, decide: () => unknown): RecoveryStrategy {
  // What a user without types may give.
  const strategy: RecoveryStrategy = { name, decide: () => null };
  Reflect.set(strategy, 'decide', decide);
  return strategy;
}

const snapshots: fc.Arbitrary<TaskSnapshot> = fc
  .record({
    progress: fc.integer({ min: 0, max: 100 }),
    explicit: fc.option(fc.integer({ min: 0, max: 100 })),
    automatic: fc.option(fc.integer({ min: 0, max: 100 })),
    crashes: fc.array(fc.integer({ min: 0, max: 200 * 3_600_000 }), { maxLength: 5 }),
    versionChange: fc.option(
      fc.record({
        from: fc.string(),
        to: fc.string(),
        hasMigrate: fc.boolean(),
        policy: fc.constantFrom('resume' as const, 'restart' as const, 'quarantine' as const),
      }),
    ),
    hasValidate: fc.boolean(),
    validation: fc.option(
      fc.oneof(
        fc.record({
          answer: fc.constantFrom(
            'complete' as const,
            'resume' as const,
            'restart' as const,
            'unrecoverable' as const,
          ),
        }),
        fc.record({ error: fc.string() }),
      ),
    ),
  })
  .map(({ progress, explicit, automatic, crashes, versionChange, hasValidate, validation }) =>
    snapshotOf({
      task: taskAt(progress),
      checkpoint: explicit === null ? null : checkpointAt(explicit, { recoverableData: { list: [1] } }),
      automaticCheckpoint: automatic === null ? null : automaticAt(automatic),
      ...crashesAt(...crashes.map((ago) => NOW_MS - ago)),
      versionChange,
      hasValidate,
      validation: hasValidate ? validation : null,
    }),
  );

describe('RecoveryPlanner', () => {
  it('property: is pure: same snapshot, same plan, and the snapshot stays as it was', () => {
    const planner = new RecoveryPlanner(defaultStrategies());
    fc.assert(
      fc.property(snapshots, (snapshot) => {
        const before = structuredClone(snapshot);
        const plan = planner.plan(deepFrozen(snapshot));
        expect(planner.plan(structuredClone(before))).toEqual(plan);
        expect(snapshot).toEqual(before);
        expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
      }),
    );
  });

  it('lets the first that decides win, in the given order', () => {
    const order: string[] = [];
    const rule = (name: string, decision: Decision | null): RecoveryStrategy => ({
      name,
      decide: () => {
        order.push(name);
        return decision;
      },
    });
    const skip: Decision = { action: 'skip', reason: 'not now', evidence: { a: 1 } };
    const planner = new RecoveryPlanner([
      rule('a', null),
      rule('b', skip),
      rule('c', { ...skip, action: 'fail' }),
    ]);
    expect(planner.plan(snapshotOf())).toEqual({ ...skip, strategy: 'b' });
    expect(order).toEqual(['a', 'b']);
    expect(planner.plan(snapshotOf(), [rule('own', { ...skip, action: 'restart' })]).strategy).toBe('own');
  });

  it('does not see later changes of the list that it was given', () => {
    const list = defaultStrategies();
    const planner = new RecoveryPlanner(list);
    list.length = 0;
    expect(planner.plan(snapshotOf()).strategy).toBe('clean-restart');
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('broken rule');
      },
    ],
    [
      'throws no error',
      () => {
        throw null;
      },
    ],
    ['gives an unknown action', () => ({ action: 'explode', reason: 'x', evidence: {} })],
    ['names a method of Object', () => ({ action: 'constructor', reason: 'x', evidence: {} })],
    ['gives no reason', () => ({ action: 'resume', evidence: {} })],
    ['gives a text', () => 'resume'],
    ['gives a promise', () => Promise.resolve({ action: 'resume', reason: 'x', evidence: {} })],
  ])('passes over a strategy that %s, and says so', (_what, decide) => {
    const plan = new RecoveryPlanner([says('bad', decide), ...defaultStrategies()]).plan(snapshotOf());
    expect(plan).toMatchObject({ action: 'restart', strategy: 'clean-restart' });
    expect(plan.evidence['passedOver']).toEqual([expect.stringMatching(/^bad: /)]);
  });

  it('a strategy that rejects, being async by mistake, brings nobody down', async () => {
    const unhandled: unknown[] = [];
    const trap = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', trap);
    const bad = says('async', async () => {
      throw new Error('async rule');
    });
    expect(new RecoveryPlanner([bad, ...defaultStrategies()]).plan(snapshotOf()).action).toBe('restart');
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    process.off('unhandledRejection', trap);
    expect(unhandled).toEqual([]);
  });

  it('restarts when nobody decides', () => {
    expect(new RecoveryPlanner([]).plan(snapshotOf())).toEqual({
      action: 'restart',
      reason: 'No strategy decided.',
      evidence: {},
      strategy: 'none',
    });
  });

  it('bounds a reason and makes it well-formed: it goes into an event', () => {
    const planner = new RecoveryPlanner([
      says('long', () => ({ action: 'resume', reason: `\ud800${'x'.repeat(5_000)}`, evidence: {} })),
    ]);
    const { reason } = planner.plan(snapshotOf());
    expect(reason.length).toBe(1_000);
    expect(reason.isWellFormed()).toBe(true);
  });

  it('does without evidence, though the type asks for it', () => {
    const planner = new RecoveryPlanner([says('bare', () => ({ action: 'resume', reason: 'x' }))]);
    expect(planner.plan(snapshotOf()).evidence).toEqual({});
  });
});
