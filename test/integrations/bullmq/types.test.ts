/** The types of BullMQ's own classes fit, whatever its jobs are. */
import { Queue, Worker } from 'bullmq';
import { expect, it } from 'vitest';
import { createRecovery, memoryStorage } from '../../../src/index.js';
import type { TaskEnvelope } from '../../../src/index.js';
import {
  bullmqDispatcher,
  dispatchedProcessor,
  recoverableProcessor,
} from '../../../src/integrations/bullmq/index.js';

interface In {
  readonly path: string;
}

it('of queues and workers with typed jobs', () => {
  const recovery = createRecovery({ storage: memoryStorage() });
  const count = recoverableProcessor(recovery, (_ctx, { path }: In) => path.length, { name: 'count' });
  // Never called: a queue connects as soon as it is made.
  const typed = (queue: Queue<In, number, 'count'>, mixed: Queue<In | TaskEnvelope, number>): unknown[] => [
    bullmqDispatcher(queue),
    bullmqDispatcher(mixed),
    new Worker<In, number>('count', count),
    new Worker<TaskEnvelope, number>('tasks', dispatchedProcessor(recovery)),
    new Worker('tasks', dispatchedProcessor(recovery)),
  ];
  expect(typed).toBeTypeOf('function');
});
