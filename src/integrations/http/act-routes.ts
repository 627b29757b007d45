/** Admin routes that change something. */
import { kindOf } from '../../errors.js';
import { log } from '../../log.js';
import type { Recovery } from '../../index.js';
import type { CancelAnswer, RedriveAnswer, RequeueAnswer, TriggerAnswer } from './answer-types.js';
import { jsonAnswer } from './answers.js';
import { bodyOf, cancelBody, emptyBody, redriveBody, triggerBody } from './requests.js';
import type { TriggerBody } from './requests.js';
import type { Asked, Route } from './route.js';
import { cancelSchema, redriveSchema, requeueSchema, triggerSchema } from './schemas.js';

/** What it comes to, or null when that takes longer. Then nobody hears of its end here; events tell. */
async function within<T>(waitMs: number, work: Promise<T>): Promise<T | null> {
  work.catch((error: unknown) => log.http('a recovery failed: %s', kindOf(error)));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, waitMs, null);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Counts the takeovers of this process, and those that failed, until it is stopped. */
function tally(recovery: Recovery): { readonly recovered: number; readonly failed: number; stop(): void } {
  const counts = { recovered: 0, failed: 0 };
  const ends = [
    recovery.on('recovery_started', () => void (counts.recovered += 1)),
    recovery.on('recovery_failed', () => void (counts.failed += 1)),
  ];
  const stop = (): void => {
    for (const end of ends) end();
  };
  return {
    get recovered() {
      return counts.recovered;
    },
    get failed() {
      return counts.failed;
    },
    stop,
  };
}

type Figures = Omit<TriggerAnswer, 'success' | 'finished'>;

/** The figures at the end, or after the longest wait those so far: the takeovers that this process has begun meanwhile. */
async function figuresOf(
  { recovery, settings }: Asked,
  begin: () => Promise<Figures & { readonly found?: number }>,
): Promise<TriggerAnswer & { readonly found: number | null }> {
  const soFar = tally(recovery);
  try {
    const ended = await within(settings.waitMs, begin());
    const { recovered, failed } = ended ?? soFar;
    return {
      success: failed === 0,
      finished: ended !== null,
      recovered,
      failed,
      skipped: ended?.skipped ?? null,
      deferred: ended?.deferred ?? null,
      dead_lettered: ended?.dead_lettered ?? null,
      found: ended?.found ?? null,
    };
  } finally {
    soFar.stop();
  }
}

/** A run that goes on is accepted, not done. */
function answerOf(body: TriggerAnswer): Response {
  return jsonAnswer(body, body.finished ? 200 : 202);
}

const NOTHING: Figures = { recovered: 0, failed: 0, skipped: 0, deferred: 0, dead_lettered: 0 };

function sum(a: number | null, b: number | null): number {
  return (a ?? 0) + (b ?? 0);
}

async function retryDocuments(
  recovery: Recovery,
  filter: Parameters<Recovery['documents']['recover']>[0],
): Promise<Figures & { readonly found: number }> {
  const report = await recovery.documents.recover(filter);
  const { attempted: recovered, failed, skipped, deadLettered: dead_lettered, found } = report;
  return { recovered, failed, skipped, deferred: 0, dead_lettered, found };
}

async function recoverOrphans(recovery: Recovery, filter: Omit<TriggerBody, 'documents'>): Promise<Figures> {
  const { finished } = await recovery.recover(filter);
  const { recovered, failed, skipped, deferred, deadLettered } = await finished;
  return { recovered, failed, skipped, deferred, dead_lettered: deadLettered };
}

async function trigger(asked: Asked): Promise<Response> {
  const { recovery, request, settings } = asked;
  const { documents = false, ...filter } = await bodyOf(request, settings.bodyBytes, triggerBody);
  const { found: _, ...body } = await figuresOf(asked, async () => {
    const [orphans, retried] = await Promise.all([
      recoverOrphans(recovery, filter),
      documents ? retryDocuments(recovery, filter) : NOTHING,
    ]);
    return {
      recovered: orphans.recovered + retried.recovered,
      failed: orphans.failed + retried.failed,
      skipped: sum(orphans.skipped, retried.skipped),
      deferred: sum(orphans.deferred, retried.deferred),
      dead_lettered: sum(orphans.dead_lettered, retried.dead_lettered),
    };
  });
  return answerOf(body);
}

async function redrive(asked: Asked): Promise<Response> {
  const { recovery, request, settings } = asked;
  const filter = await bodyOf(request, settings.bodyBytes, redriveBody);
  const body: RedriveAnswer = await figuresOf(asked, () => retryDocuments(recovery, filter));
  return answerOf(body);
}

async function requeue({ recovery, request, settings, taskId }: Asked): Promise<Response> {
  await bodyOf(request, settings.bodyBytes, emptyBody);
  await recovery.tasks.requeue(taskId);
  const body: RequeueAnswer = { success: true, taskId };
  return jsonAnswer(body);
}

async function cancel({ recovery, request, settings, taskId }: Asked): Promise<Response> {
  const options = await bodyOf(request, settings.bodyBytes, cancelBody);
  const outcome = await recovery.tasks.cancel(taskId, options);
  const body: CancelAnswer = { success: outcome !== 'ended', taskId, outcome };
  return jsonAnswer(body);
}

export const ACT_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/recovery/trigger',
    summary: 'Recovers now. 202 when it goes on behind the longest wait.',
    body: triggerBody,
    answers: { 200: triggerSchema, 202: triggerSchema },
    answer: trigger,
  },
  {
    method: 'POST',
    path: '/recovery/tasks/{taskId}/requeue',
    summary: 'Puts a task that has ended badly into the recovery queue afresh.',
    body: emptyBody,
    answers: { 200: requeueSchema },
    answer: requeue,
  },
  {
    method: 'POST',
    path: '/recovery/tasks/{taskId}/cancel',
    summary: 'Ends a task for good, in whichever process it runs.',
    body: cancelBody,
    answers: { 200: cancelSchema },
    answer: cancel,
  },
  {
    method: 'POST',
    path: '/recovery/failures/redrive',
    summary: 'Tries the failed documents of a reason again, with all their retries afresh.',
    body: redriveBody,
    answers: { 200: redriveSchema, 202: redriveSchema },
    answer: redrive,
  },
];
