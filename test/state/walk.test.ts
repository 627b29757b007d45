import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { endBatch, requeueBatch } from '../../src/state/endings.js';
import { claimBatch, orphanBatch } from '../../src/state/transitions.js';
import { crashAt } from '../recovery/snapshot.js';
import {
  claimOn,
  create,
  expectConsistent,
  FOREVER,
  hold,
  holder,
  plan,
  taskInMemory,
  NOW,
} from './task-in-memory.js';

const STEPS = [
  'orphan',
  'resume',
  'restart',
  'bury',
  'withdraw',
  'requeue',
  'release',
  'retry',
  'cancel',
  'complete',
  'fail',
  'stuck',
  'progress',
  'checkpoint',
] as const;

it('property: after any walk through the states, indexes and events agree with the head, and the fence rises', async () => {
  const step = fc.constantFrom(...STEPS);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (walk) => {
      const task = taskInMemory();
      await create(task);
      let mine = await hold(task, holder('w1'));
      let fence = 10;
      for (const each of walk) {
        await task.clock.advance(7);
        const head = await task.head();
        const running = head.task.status === 'processing';
        const { live, write } = mine;
        const ended = head.task.endedAtMs !== null;
        const orphaning = { cause: 'lease_over', crashes: [], delayMs: fence } as const;
        if (each === 'orphan' && running)
          await task.commit(orphanBatch(head, orphaning, `o${fence}`, FOREVER));
        if ((each === 'resume' || each === 'restart') && (!ended || head.task.status === 'failed')) {
          fence += 1;
          const by = holder(`w${(fence % 3) + 1}`, fence);
          const cause = head.task.status === 'failed' ? 'retried' : (head.task.orphanCause ?? 'lease_over');
          const claim = claimOn(head, { plan: plan(each), cause, version: String(fence) });
          await task.commit(claimBatch(claim, by));
          mine = await hold(task, by, true);
        }
        const error = { name: 'E', message: 'm', code: null };
        const stamp = { nonce: `${each}${head.eventSeq}`, notAfter: FOREVER, atMs: 0 };
        const end = { crashes: [crashAt(1)], error, reason: 'why', ...stamp } as const;
        if (each === 'bury' && !ended) await task.commit(endBatch(head, { status: 'dead_letter', ...end }));
        if (each === 'withdraw' && !ended) await task.commit(endBatch(head, { status: 'cancelled', ...end }));
        if (each === 'requeue' && !running && head.task.status !== 'completed')
          await task.commit(requeueBatch(head, stamp.nonce, FOREVER));
        if (running && each === 'retry') await write((draft) => live.retry(draft, error, 1, 50, null));
        if (running && each === 'cancel') await write((draft) => live.cancel(draft, error));
        if (running && each === 'release') await write((draft) => live.release(draft, null));
        if (running && each === 'complete')
          await write((draft) => live.complete(draft, { kind: 'none' }, NOW));
        if (running && each === 'fail') await write((draft) => live.fail(draft, error, 1, null, NOW));
        if (running && each === 'stuck' && !live.isStuck) await write((draft) => live.stuck(draft, 3));
        if (running && each === 'progress') await write((draft) => live.progress(draft, 10, null, null, 4));
        if (running && each === 'checkpoint') await write((draft) => live.event(draft, 'checkpoint_created'));
        await expectConsistent(task);
        expect((await task.head()).task.fence).toBe(fence);
      }
    }),
    { numRuns: 150 },
  );
});
