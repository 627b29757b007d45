import { describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import type { RecoveryErrorCode } from '../../src/errors.js';
import { shutDownError } from '../../src/runtime/engine.js';
import { outcomeOf, ReportBuilder } from '../../src/runtime/report.js';

describe('ReportBuilder', () => {
  it('counts exactly and lists the first 1,000', () => {
    const report = new ReportBuilder(100.2);
    report.discovered(1_500);
    for (let n = 0; n < 1_200; n += 1) {
      report.started();
      report.add({
        taskId: `t${n}`,
        name: 'n',
        decision: 'resume',
        reason: 'r',
        outcome: n % 2 === 0 ? 'completed' : 'failed',
      });
    }
    report.add({ taskId: 's', name: 'n', decision: 'skip', reason: 'r', outcome: 'skipped' });
    report.add({ taskId: 'd', name: 'n', decision: 'dead_letter', reason: 'r', outcome: 'dead_letter' });
    const built = report.build(350);
    expect(built).toMatchObject({
      discovered: 1_500,
      recovered: 1_200,
      failed: 600,
      skipped: 1,
      deferred: 0,
      deadLettered: 1,
      durationMs: 250,
    });
    expect(built.tasks).toHaveLength(1_000);
    expect(built.tasks[0]).toMatchObject({ taskId: 't0', items: null, error: null });
  });
});

describe('outcomeOf', () => {
  it.each<[RecoveryErrorCode, string]>([
    ['SHUT_DOWN', 'released'],
    ['STORAGE_UNAVAILABLE', 'released'],
    ['STORAGE_FULL', 'released'],
    ['STORAGE_READONLY', 'released'],
    ['RESULT_NOT_STORABLE', 'completed'],
    ['LEASE_LOST', 'lost'],
    ['LEASE_UNCERTAIN', 'lost'],
    ['SLOT_CONFLICT', 'lost'],
    ['UNRECOVERABLE', 'failed'],
  ])('%s is %s', (code, outcome) => {
    expect(outcomeOf(new RecoveryError(code, 'why'), shutDownError())).toEqual({ outcome, error: 'why' });
  });

  it('anything else is a failure, its text bounded', () => {
    expect(outcomeOf(new Error('x'.repeat(5_000)), null)).toEqual({
      outcome: 'failed',
      error: 'x'.repeat(1_000),
    });
    // That of another Recovery is the task's own affair.
    expect(outcomeOf(shutDownError(), null)).toMatchObject({ outcome: 'failed' });
    expect(outcomeOf(Object.assign(new Error('x'), { message: 5 }), null)).toEqual({
      outcome: 'failed',
      error: '5',
    });
  });
});
