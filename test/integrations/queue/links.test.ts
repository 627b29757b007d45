import { expect, it } from 'vitest';
import { createRecovery, memoryStorage } from '../../../src/index.js';
import { jobRunner } from '../../../src/integrations/queue/jobs.js';
import type { RecoveryContext } from '../../../src/runtime/context.js';
import { settled } from '../../support/manual-clock.js';
import { gate, trapUnhandledRejections } from '../../runtime/harness.js';

trapUnhandledRejections();

const QUEUE = { title: 'Q', tell: () => Promise.resolve() };

it.each(['a call that was wrong', 'one after the cancellation of the job'])(
  '%s does not end the process when nobody waits for it',
  async (which) => {
    const recovery = createRecovery({ storage: memoryStorage() });
    const controller = new AbortController();
    const wrong = which.includes('wrong');
    const body = async (ctx: RecoveryContext): Promise<string> => {
      if (!wrong) controller.abort('not wanted');
      const percent = wrong ? 101 : 50;
      void ctx.updateProgress(percent);
      void ctx.createCheckpoint({ name: 'half', progressPercent: percent, recoverableData: {} });
      void ctx.step(wrong ? '' : 'work', () => 1);
      void ctx.map(wrong ? '' : 'items', [1], (item) => item, { key: String });
      await settled();
      return 'done';
    };
    const run = jobRunner(recovery, body, { name: 'n' }, QUEUE);
    expect(await run({ job: {}, taskId: 't', data: {}, signal: controller.signal })).toBe('done');
    await recovery.shutdown();
  },
);

/** A function that is in a step, which hears of nothing, while its job is cancelled and comes again. */
async function cancelledMeanwhile(toldLate: boolean): Promise<unknown[]> {
  const recovery = createRecovery({ storage: memoryStorage() });
  const controller = new AbortController();
  const [begun, done, told] = [gate(), gate(), gate()];
  const ran: string[] = [];
  const body = async (ctx: RecoveryContext): Promise<string> => {
    ran.push(`attempt ${ctx.attempt}`);
    await ctx.updateProgress(ctx.attempt);
    await ctx.step('long', async () => {
      begun.open();
      await done.passed;
    });
    return ctx.step('last', () => 'done');
  };
  // The first job's queue may be out of reach for long.
  const tell = (job: { late: boolean }): Promise<void> => (job.late ? told.passed : Promise.resolve());
  const run = jobRunner(recovery, body, { name: 'n' }, { title: 'Q', tell });
  const deliver = (late: boolean, signal: AbortSignal): Promise<unknown> =>
    run({ job: { late }, taskId: 't', data: {}, signal }).catch((error: unknown) => error);
  const first = deliver(toldLate, controller.signal);
  await begun.passed;
  controller.abort('its lock was lost');
  if (toldLate) {
    done.open();
    while ((await recovery.tasks.get('t'))?.status !== 'failed') await settled();
  }
  const second = deliver(false, new AbortController().signal);
  await settled();
  done.open();
  const outcome = await second;
  told.open();
  const { code } = Object(await first);
  await recovery.shutdown();
  return [code, outcome, ...ran];
}

it.each([
  ['while the run that was cancelled is in hand', false],
  ['when that has ended, and its job is still being told', true],
])('a job that comes again %s goes on from its steps', async (_, toldLate) => {
  expect(await cancelledMeanwhile(toldLate)).toEqual(['TASK_CANCELLED', 'done', 'attempt 1', 'attempt 2']);
});
