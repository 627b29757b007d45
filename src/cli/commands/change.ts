/** Commands that change single tasks. */
import type { Command } from '../context.js';
import { EXIT } from '../exit-codes.js';

export interface RequeueOptions {
  readonly taskId: string;
}

export interface CancelOptions extends RequeueOptions {
  readonly reason?: string;
}

/** `rekindle requeue <id>` */
export const requeueTask: Command<RequeueOptions> = async ({ session }, { taskId }) => {
  await session.recovery.tasks.requeue(taskId);
  return {
    value: { taskId, requeued: true },
    show: (out) =>
      out.line(
        `${taskId} is in the recovery queue: a worker that has its function takes it up with its next look.`,
      ),
  };
};

const TOLD = {
  cancelled: 'is cancelled.',
  requested: 'is to be cancelled: its worker hears of it with its next heartbeat.',
  ended: 'had ended before. Nothing was changed.',
} as const;

/** `rekindle cancel <id>` */
export const cancelTask: Command<CancelOptions> = async ({ session }, { taskId, reason }) => {
  const outcome = await session.recovery.tasks.cancel(taskId, reason === undefined ? {} : { reason });
  return {
    value: { taskId, outcome },
    show: (out) => out.line(`${taskId} ${TOLD[outcome]}`),
    exitCode: outcome === 'ended' ? EXIT.notFound : EXIT.ok,
  };
};
