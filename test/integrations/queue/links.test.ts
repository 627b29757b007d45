import { expect, it } from 'vitest';
import { createRecovery, memoryStorage } from '../../../src/index.js';
import { jobRunner } from '../../../src/integrations/queue/jobs.js';
import type { RecoveryContext } from '../../../src/runtime/context.js';
import { settled } from '../../support/manual-clock.js';
import { trapUnhandledRejections } from '../../runtime/harness.js';

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
