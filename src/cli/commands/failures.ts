import type { Command } from '../context.js';
import { timeText } from '../text.js';

export interface FailuresOptions {
  readonly group?: boolean;
  readonly fingerprint?: string;
  readonly category?: string;
  readonly name?: string;
  readonly limit?: number;
  readonly after?: string;
}

/** `rekindle failures` */
export const listFailures: Command<FailuresOptions> = async (context, { group = false, ...filter }) => {
  const { failures } = context.session.recovery;
  if (group) return listGroups(context, {});
  const { fingerprint, category, name, limit, after } = filter;
  const page = await failures.list({ fingerprint, category, name, limit, after });
  return {
    value: page,
    show: (out) => {
      if (page.documents.length === 0) out.note('No failed documents.');
      else
        out.table(
          ['task', 'name', 'document', 'status', 'category', 'fingerprint', 'retries', 'failed', 'error'],
          page.documents.map((each) => [
            each.taskId,
            each.name,
            each.documentPath,
            each.status,
            each.category,
            each.fingerprint,
            each.retryCount,
            timeText(each.failedAtMs),
            `${each.errorName}: ${each.errorMessage}`,
          ]),
        );
      if (page.next !== null) out.note(`More: --after ${page.next}`);
    },
  };
};

/** `rekindle failures --group` */
const listGroups: Command<object> = async ({ session }) => {
  const groups = await session.recovery.failures.groups();
  return {
    value: { groups },
    show: (out) => {
      if (groups.length === 0) out.note('No failed documents.');
      else
        out.table(
          ['count', 'fingerprint', 'category', 'newest', 'frame', 'error'],
          groups.map((each) => [
            each.count,
            each.fingerprint,
            each.category,
            each.newestTaskId,
            each.frame,
            `${each.errorName}: ${each.errorMessage}`,
          ]),
        );
    },
  };
};
