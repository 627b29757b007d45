import { isRecoveryError, RecoveryError } from '../../errors.js';
import type { FailedDocumentRecord, Recovery } from '../../index.js';
import type { Answer, Command, Context } from '../context.js';
import { plural } from '../text.js';
import { documentsAnswer, withProgress } from './recover.js';

export interface RedriveOptions {
  readonly fingerprint: string;
}

const PAGE = 200;
/** Documents that are put back at once. */
const AT_ONCE = 20;

async function groupOf({ failures }: Recovery, fingerprint: string): Promise<FailedDocumentRecord[]> {
  const documents: FailedDocumentRecord[] = [];
  for (let after: string | undefined; ;) {
    const page = await failures.list({ fingerprint, limit: PAGE, after });
    documents.push(...page.documents);
    if (page.next === null) return documents;
    after = page.next;
  }
}

/** False for one that is under way by now. */
async function putBack(recovery: Recovery, taskId: string): Promise<boolean> {
  try {
    await recovery.failures.requeue(taskId);
    return true;
  } catch (error) {
    if (isRecoveryError(error, 'WRONG_STATE') || isRecoveryError(error, 'TASK_NOT_FOUND')) return false;
    throw error;
  }
}

/** Into the recovery queue, where the workers find them. */
async function requeueGroup(
  { session, signal }: Context,
  fingerprint: string,
  documents: readonly FailedDocumentRecord[],
): Promise<Answer> {
  const ended = documents.filter(({ status }) => status === 'failed' || status === 'dead_letter');
  let requeued = 0;
  for (let from = 0; from < ended.length && !signal.aborted; from += AT_ONCE) {
    const some = ended.slice(from, from + AT_ONCE);
    const done = await Promise.all(some.map(({ taskId }) => putBack(session.recovery, taskId)));
    requeued += done.filter(Boolean).length;
  }
  const value = { kind: 'requeued', fingerprint, found: documents.length, requeued };
  return {
    value,
    show: (out) =>
      out.line(
        `${requeued} of ${plural(documents.length, 'document')} are in the recovery queue now, with all their retries: ` +
          'workers that have their functions take them up.',
      ),
  };
}

/** `rekindle redrive <fingerprint>`: here with `--import`, by the workers without. */
export const redriveGroup: Command<RedriveOptions> = async (context, { fingerprint }) => {
  const { recovery, direct, place } = context.session;
  if ((await recovery.failures.count({ fingerprint })) === 0) {
    throw new RecoveryError(
      'TASK_NOT_FOUND',
      `There is no failed document with the fingerprint "${fingerprint}" in ${place}. See: rekindle failures --group`,
    );
  }
  if (direct !== null) return requeueGroup(context, fingerprint, await groupOf(recovery, fingerprint));
  return withProgress(context, 'documents', async (_, progress) => {
    progress.expect(await recovery.failures.count({ fingerprint }));
    return documentsAnswer(await recovery.documents.recover({ fingerprint }));
  });
};
