import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TaskSnapshot, VersionChange } from '../../src/domain/task.js';
import { RecoveryPlanner } from '../../src/recovery/planner.js';
import {
  checkpointResume,
  cleanRestart,
  crashBudget,
  defaultStrategies,
  validationOnly,
} from '../../src/recovery/strategies.js';
import type { StrategyOptions } from '../../src/recovery/strategies.js';
import { automaticAt, checkpointAt, crashAt, crashesAt, NOW_MS, snapshotOf, taskAt } from './snapshot.js';

const HOUR_MS = 3_600_000;

type Row = [
  what: string,
  change: Partial<TaskSnapshot>,
  action: string,
  strategy: string,
  options?: StrategyOptions,
];

const asked = (answer: 'complete' | 'resume' | 'restart' | 'unrecoverable'): Partial<TaskSnapshot> => ({
  hasValidate: true,
  task: taskAt(97),
  checkpoint: checkpointAt(97),
  validation: { answer },
});

/** Crashes, the last one as the only suspect of its process. */
function alone(...times: readonly number[]): Partial<TaskSnapshot> {
  const { crashes, crashedAtMs } = crashesAt(...times);
  const last = crashes.at(-1);
  return {
    crashes: last === undefined ? [] : [...crashes.slice(0, -1), { ...last, suspects: 1 }],
    crashedAtMs,
  };
}

function changed(change: Partial<VersionChange> = {}): VersionChange {
  return { from: '1', to: '2', hasMigrate: false, policy: 'restart', ...change };
}

const ROWS: Row[] = [
  ['nothing there', {}, 'restart', 'clean-restart'],
  ['progress without a checkpoint', { task: taskAt(80) }, 'restart', 'clean-restart'],
  ['automatic at 25 %', { automaticCheckpoint: automaticAt(25) }, 'restart', 'clean-restart'],
  ['automatic above 25 %', { automaticCheckpoint: automaticAt(25.1) }, 'resume', 'checkpoint-resume'],
  ['explicit at 0 %', { checkpoint: checkpointAt(0) }, 'resume', 'checkpoint-resume'],
  ['explicit at 1 %', { checkpoint: checkpointAt(1) }, 'resume', 'checkpoint-resume'],
  [
    'explicit at 1 % under a minimum of 5',
    { checkpoint: checkpointAt(1) },
    'restart',
    'clean-restart',
    { minProgressPercent: 5 },
  ],
  [
    'explicit at 5 % at a minimum of 5',
    { checkpoint: checkpointAt(5) },
    'resume',
    'checkpoint-resume',
    { minProgressPercent: 5 },
  ],
  [
    'automatic at 40 under a minimum of 50',
    { automaticCheckpoint: automaticAt(40) },
    'restart',
    'clean-restart',
    { minProgressPercent: 50 },
  ],
  [
    'own threshold',
    { automaticCheckpoint: automaticAt(60) },
    'restart',
    'clean-restart',
    { resumeAbovePercent: 60 },
  ],
  [
    'own threshold passed',
    { automaticCheckpoint: automaticAt(11) },
    'resume',
    'checkpoint-resume',
    { resumeAbovePercent: 10 },
  ],
  ['96 % without a hook', { task: taskAt(96), checkpoint: checkpointAt(96) }, 'resume', 'checkpoint-resume'],
  ['95 % with a hook', { task: taskAt(95), hasValidate: true }, 'restart', 'clean-restart'],
  ['above 95 % with a hook', { task: taskAt(95.5), hasValidate: true }, 'validate', 'validation-only'],
  [
    'above 95 % by the checkpoint',
    { checkpoint: checkpointAt(99), hasValidate: true },
    'validate',
    'validation-only',
  ],
  [
    'above 95 % by the automatic one',
    { automaticCheckpoint: automaticAt(99), hasValidate: true },
    'validate',
    'validation-only',
  ],
  [
    'own limit of validation',
    { task: taskAt(51), hasValidate: true },
    'validate',
    'validation-only',
    { validateAbovePercent: 50 },
  ],
  ['it says complete', asked('complete'), 'complete', 'validation-only'],
  ['it says unrecoverable', asked('unrecoverable'), 'fail', 'validation-only'],
  ['it says restart', asked('restart'), 'restart', 'validation-only'],
  ['it says resume', asked('resume'), 'resume', 'checkpoint-resume'],
  [
    'it says resume, with nothing to resume from',
    { ...asked('resume'), checkpoint: null },
    'restart',
    'clean-restart',
  ],
  ['the hook threw', { ...asked('resume'), validation: { error: 'no' } }, 'resume', 'checkpoint-resume'],
  [
    'three crashes, alone in the last one',
    alone(NOW_MS - 3 * HOUR_MS, NOW_MS - 2 * HOUR_MS, NOW_MS - HOUR_MS),
    'dead_letter',
    'crash-budget',
  ],
  ['three crashes among others', crashesAt(NOW_MS - 2, NOW_MS - 1, NOW_MS), 'restart', 'clean-restart'],
  ['two crashes', alone(NOW_MS - 1, NOW_MS), 'restart', 'clean-restart'],
  [
    'three crashes, one too old',
    alone(NOW_MS - 72 * HOUR_MS, NOW_MS - 1, NOW_MS),
    'restart',
    'clean-restart',
  ],
  [
    'another version',
    { checkpoint: checkpointAt(40), versionChange: changed() },
    'restart',
    'version-policy',
  ],
  [
    'another version, to be quarantined',
    { checkpoint: checkpointAt(40), versionChange: changed({ policy: 'quarantine' }) },
    'dead_letter',
    'version-policy',
  ],
  [
    'another version, to be resumed',
    { checkpoint: checkpointAt(40), versionChange: changed({ policy: 'resume' }) },
    'resume',
    'checkpoint-resume',
  ],
  [
    'another version, with migrate',
    { checkpoint: checkpointAt(40), versionChange: changed({ policy: 'quarantine', hasMigrate: true }) },
    'resume',
    'checkpoint-resume',
  ],
  [
    'another version comes before an answer of complete',
    { ...asked('complete'), versionChange: changed() },
    'restart',
    'version-policy',
  ],
  [
    'the budget comes before another version',
    { versionChange: changed(), crashBudget: { count: 1, windowMs: 1_000 } },
    'dead_letter',
    'crash-budget',
  ],
  ['a budget of one', { crashBudget: { count: 1, windowMs: 1_000 } }, 'dead_letter', 'crash-budget'],
  [
    'the budget comes before an answer of complete',
    { ...asked('complete'), crashBudget: { count: 1, windowMs: 1_000 } },
    'dead_letter',
    'crash-budget',
  ],
];

describe('the decisions of the built-in strategies', () => {
  it.each(ROWS)('%s', (_what, change, action, strategy, options = {}) => {
    const plan = new RecoveryPlanner(defaultStrategies(options)).plan(snapshotOf(change));
    expect(plan).toMatchObject({ action, strategy });
    expect(plan.reason).toMatch(/\.$/);
  });

  it('explain themselves with their evidence', () => {
    const planner = new RecoveryPlanner(defaultStrategies());
    expect(
      planner.plan(snapshotOf({ checkpoint: checkpointAt(40, { seq: 4 }), corruptCheckpoints: 2 })),
    ).toEqual({
      action: 'resume',
      reason: 'Resumes from checkpoint "parsed" at 40 %.',
      evidence: { checkpoint: 'parsed', seq: 4, progressPercent: 40, corruptCheckpoints: 2 },
      strategy: 'checkpoint-resume',
    });
    const crashed = alone(NOW_MS - 2, NOW_MS - 1, NOW_MS);
    const evidence = { owner: 'w', attempt: 1, cause: 'lease_over', step: null, progressPercent: 0 };
    expect(planner.plan(snapshotOf(crashed))).toEqual({
      action: 'dead_letter',
      reason: 'It crashed 3 times within 72 h; the budget is 3.',
      evidence: {
        crashes: [
          { ...evidence, atMs: NOW_MS - 2, suspects: null },
          { ...evidence, atMs: NOW_MS - 1, suspects: null },
          { ...evidence, atMs: NOW_MS, suspects: 1 },
        ],
        count: 3,
        windowMs: 72 * HOUR_MS,
      },
      strategy: 'crash-budget',
    });
    const crash = crashAt(NOW_MS, { step: 'parse' });
    const once = { crashes: [crash], crashBudget: { count: 1, windowMs: 90 * 60_000 } };
    expect(planner.plan(snapshotOf(once)).reason).toBe(
      'It crashed once within 1.5 h; the budget is 1. The last step it reported was "parse".',
    );
    expect(planner.plan(snapshotOf({ versionChange: changed({ from: 'a', to: 'b' }) }))).toMatchObject({
      reason: expect.stringMatching(/version "a".*"b".*no migrate.*starts again/),
      evidence: { from: 'a', to: 'b', policy: 'restart' },
    });
    expect(planner.plan(snapshotOf({ automaticCheckpoint: automaticAt(10) })).reason).toContain(
      'too little progress',
    );
    expect(planner.plan(snapshotOf()).reason).toContain('no usable checkpoint');
  });

  it('stand in their order, and each has its name', () => {
    expect(defaultStrategies().map(({ name }) => name)).toEqual([
      'crash-budget',
      'version-policy',
      'validation-only',
      'checkpoint-resume',
      'clean-restart',
    ]);
  });

  it('property: the last resort decides always, the others leave what is not theirs', () => {
    const percent = fc.double({ min: 0, max: 100, noNaN: true });
    fc.assert(
      fc.property(
        fc.option(percent),
        fc.option(percent),
        percent,
        fc.boolean(),
        fc.nat(5),
        (explicit, automatic, progress, hasValidate, crashes) => {
          const snapshot = snapshotOf({
            task: taskAt(progress),
            checkpoint: explicit === null ? null : checkpointAt(explicit),
            automaticCheckpoint: automatic === null ? null : automaticAt(automatic),
            hasValidate,
            ...alone(...Array.from({ length: crashes }, () => NOW_MS)),
          });
          expect(cleanRestart().decide(snapshot)?.action).toBe('restart');
          expect(crashBudget().decide(snapshot)?.action).toBe(crashes >= 3 ? 'dead_letter' : undefined);
          const resumes = explicit !== null || (automatic ?? 0) > 25;
          expect(checkpointResume().decide(snapshot)?.action).toBe(resumes ? 'resume' : undefined);
          const newest = Math.max(progress, explicit ?? 0, automatic ?? 0);
          expect(validationOnly().decide(snapshot)?.action).toBe(
            hasValidate && newest > 95 ? 'validate' : undefined,
          );
        },
      ),
    );
  });
});
