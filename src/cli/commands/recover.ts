import { isRecoveryError, RecoveryError } from '../../errors.js';
import type { DocumentRecoveryReport, Recovery, RecoveryReport, TaskReport } from '../../index.js';
import type { Answer, Command, Context } from '../context.js';
import { EXIT } from '../exit-codes.js';
import type { Output } from '../output.js';
import { Progress } from '../progress.js';
import type { GlobalOptions } from '../session.js';
import { durationText, plural } from '../text.js';
import { itemsText } from './tasks.js';

export interface RecoverOptions {
  /** Failed documents that are due, in place of orphaned tasks. */
  readonly documents?: boolean;
  readonly names?: readonly string[];
}

/** `shutdown` takes 10 s at most; that of a module may be another one. */
const GIVE_BACK_MS = 12_000;

/** Only a module brings the functions. @throws `INVALID_OPTION` */
export function assertFunctions({ import: module }: GlobalOptions): void {
  if (module !== undefined) return;
  throw new RecoveryError(
    'INVALID_OPTION',
    'To run tasks takes their functions: give the module that wraps them, --import ./tasks.js.',
  );
}

/**
 * Does work in this process that a signal interrupts: tasks in flight are given back, and the work comes to its end. Null
 * when there was nothing under way yet.
 */
async function interruptible<R>({ session, signal }: Context, work: () => Promise<R>): Promise<R | null> {
  const { recovery } = session;
  const endings: Promise<void>[] = [];
  let giveUp: (error: Error) => void = () => {};
  const late = new Promise<never>((_, reject) => (giveUp = reject));
  late.catch(() => {});
  let timer: NodeJS.Timeout | undefined;
  const end = (): void => {
    endings.push(recovery.shutdown());
    const message = `shutdown did not end within ${GIVE_BACK_MS} ms: tasks may not have been given back.`;
    timer = setTimeout(() => giveUp(new Error(message)), GIVE_BACK_MS);
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    if (signal.aborted && isRecoveryError(error, 'SHUT_DOWN')) return null;
    throw error;
  } finally {
    signal.removeEventListener('abort', end);
    await Promise.race([Promise.all(endings), late]).finally(() => clearTimeout(timer));
  }
}

/** Counts attempts in this process as they begin and end. */
function followAttempts(recovery: Recovery, progress: Progress): () => void {
  let started = 0;
  const offs = [
    recovery.on('recovery_started', () => progress.expect((started += 1))),
    recovery.on('recovery_completed', () => progress.more()),
    recovery.on('recovery_failed', () => progress.more()),
  ];
  return () => {
    for (const off of offs) off();
  };
}

function showTasks(out: Output, tasks: readonly TaskReport[]): void {
  if (tasks.length === 0) return;
  out.table(
    ['task', 'name', 'decision', 'outcome', 'items', 'reason', 'error'],
    tasks.map((task) => [
      task.taskId,
      task.name,
      task.decision,
      task.outcome,
      itemsText(task.items),
      task.reason,
      task.error,
    ]),
  );
}

function tasksAnswer(report: RecoveryReport): Answer {
  const { discovered, recovered, failed, skipped, deferred, deadLettered, released, stuck, durationMs } =
    report;
  return {
    value: { kind: 'tasks', report },
    show: (out) => {
      showTasks(out, report.tasks);
      out.line(
        `${plural(discovered, 'orphan')} found, ${recovered} started, ${failed} failed, ${skipped} skipped, ` +
          `${deferred} deferred, ${deadLettered} given up, ${released} given back, ${stuck} stuck elsewhere, in ${durationText(durationMs)}`,
      );
    },
    exitCode: failed + deadLettered > 0 ? EXIT.failed : EXIT.ok,
  };
}

export function documentsAnswer(report: DocumentRecoveryReport): Answer {
  const { found, attempted, succeeded, failed, skipped, deadLettered, expired, durationMs } = report;
  return {
    value: { kind: 'documents', report },
    show: (out) => {
      showTasks(out, report.tasks);
      out.line(
        `${plural(found, 'document')} found, ${attempted} tried, ${succeeded} succeeded, ${failed} failed, ` +
          `${skipped} skipped, ${deadLettered} given up, ${expired} removed, in ${durationText(durationMs)}`,
      );
    },
    exitCode: failed + deadLettered > 0 ? EXIT.failed : EXIT.ok,
  };
}

/** Runs with a progress bar; null when it was interrupted before it began. */
export async function withProgress(
  context: Context,
  what: string,
  work: (recovery: Recovery, progress: Progress) => Promise<Answer>,
): Promise<Answer | null> {
  const { recovery } = context.session;
  const progress = new Progress(what, context.io, context.out.json);
  const off = followAttempts(recovery, progress);
  try {
    return await interruptible(context, () => work(recovery, progress));
  } finally {
    off();
    progress.stop();
  }
}

/** Names that neither the namespace nor the module knows are mistyped. @throws `INVALID_OPTION` */
async function assertNames({ session }: Context, names: readonly string[]): Promise<void> {
  const known = new Set([...session.functions, ...(await session.recovery.tasks.names())]);
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new RecoveryError(
    'INVALID_OPTION',
    `${session.place} exports no function of the name ${quoted(unknown)}, and its namespace has never had a task of it. ` +
      `Known: ${known.size === 0 ? 'none' : [...known].toSorted().join(', ')}.`,
  );
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}

/** With names that were asked for and have no function here the work is not what it was to be. */
function withoutFunctions(
  { out, session }: Context,
  names: readonly string[],
  answer: Answer,
  tasks: readonly TaskReport[],
): Answer {
  const skipped = new Set(
    tasks.filter(({ reason }) => reason.startsWith('NO_HANDLER')).map(({ name }) => name),
  );
  const missing = names.filter((name) => skipped.has(name));
  if (missing.length === 0) return answer;
  out.note(`No function of the name ${quoted(missing)} is registered in ${session.place}.`);
  return { ...answer, exitCode: EXIT.failed };
}

/** `rekindle recover`: one pass in this process, until all that it claimed has ended. */
export const recoverTasks: Command<RecoverOptions> = async (context, { documents = false, names }) => {
  const filter = names === undefined ? {} : { names };
  if (names !== undefined) await assertNames(context, names);
  if (documents) {
    return withProgress(context, 'documents', async (recovery) =>
      documentsAnswer(await recovery.documents.recover(filter)),
    );
  }
  return withProgress(context, 'tasks', async (recovery, progress) => {
    const run = await recovery.recover(filter);
    // What waits for a slot is in the queue by now.
    progress.expect((await recovery.tasks.counts()).orphaned);
    const report = await run.finished;
    return withoutFunctions(context, names ?? [], tasksAnswer(report), report.tasks);
  });
};
