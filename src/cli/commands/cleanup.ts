import { RecoveryError } from '../../errors.js';
import type { Retention } from '../../domain/operations.js';
import type { Command } from '../context.js';
import { Progress } from '../progress.js';
import type { GlobalOptions } from '../session.js';
import { durationText, plural } from '../text.js';

export interface CleanupOptions {
  readonly limit?: number;
  /** Days. */
  readonly olderThan?: number;
}

const DAY_MS = 86_400_000;

/**
 * What is too old is for the application to say: its module does, or the command line. The defaults here could be
 * shorter than what the workers keep to.
 * @throws `INVALID_OPTION` unless one of them does
 */
export function retentionOf(
  { import: module }: GlobalOptions,
  { olderThan }: CleanupOptions,
): Retention | undefined {
  if ((module === undefined) === (olderThan === undefined)) {
    throw new RecoveryError(
      'INVALID_OPTION',
      'cleanup removes what is older than the retention: give the module that says it, --import ./tasks.js, or --older-than <days>.',
    );
  }
  if (olderThan === undefined) return undefined;
  const ms = olderThan * DAY_MS;
  return { completedMs: ms, cancelledMs: ms, failedMs: ms, deadLetterMs: ms };
}

/** `rekindle cleanup` */
export const cleanUp: Command<CleanupOptions> = async ({ session, signal, io, out }, { limit }) => {
  const progress = new Progress('removed', io, out.json || io.stderr.isTTY !== true, 'removed {value}');
  const report = await session.recovery
    .cleanup({ limit, signal, onProgress: ({ removed }) => progress.reached(removed) })
    .finally(() => progress.stop());
  return {
    value: report,
    show: (out) => {
      const { completed, cancelled, failed, dead_letter, counters, more, durationMs } = report;
      out.line(
        `removed ${plural(completed + cancelled + failed + dead_letter, 'task')}: ${completed} completed, ` +
          `${cancelled} cancelled, ${failed} failed, ${dead_letter} dead letters; ${counters} hours of counters; in ${durationText(durationMs)}`,
      );
      if (more) out.note('There is more to remove.');
    },
  };
};
