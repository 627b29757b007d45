/** Documents whose failure is reported by hand: checked, and written under the head of their task, or one of their own. */
import { createHash } from 'node:crypto';
import { checkOptions, isText } from '../domain/check-options.js';
import { checkId, MAX_ID_LENGTH } from '../domain/ids.js';
import { toJsonText } from '../domain/json.js';
import type { FailedDocument } from '../state/failures.js';
import type { FailureReport } from '../state/failure-filter.js';
import { decodeHead, FIRST_VERSION } from '../state/head.js';
import type { Head } from '../state/head.js';
import { keys } from '../state/keys.js';
import type { Stamp } from '../state/removal.js';
import { newDocumentBatch, reportedBatch } from '../state/reported.js';
import type { ReportedFailure } from '../state/reported.js';
import { applied, changing, stampFor, TRIES, wrongState } from './commits.js';
import type { Engine } from './engine.js';
import { assertOpen } from './engine.js';
import { failureFrom, LONGEST_PATH } from './failure-of.js';
import { isId } from './options.js';
import { inputTextOf } from './snapshot.js';
import { purge } from './purging.js';
import { assertSameInput, assertSameName } from './same-task.js';
import { storedErrorOf } from './task-errors.js';

/** The task that documents belong to of which no other is said. */
const DOCUMENT_TASK = 'document';

const CHECKS = {
  documentPath: (value: unknown) =>
    typeof value === 'string' && value !== '' && value.length <= LONGEST_PATH && value.isWellFormed()
      ? null
      : `must be a text of 1 to ${LONGEST_PATH} characters`,
  error: () => null,
  taskId: isId,
  name: isId,
  args: (value: unknown) => (Array.isArray(value) ? null : 'must be a list'),
  query: isText,
  workerId: isId,
  version: isId,
  metadata: () => null,
};

/** Everything that can be wrong is found before anything is written. */
interface Checked {
  readonly taskId: string;
  readonly name: string;
  readonly inputText: string;
  readonly givenInput: boolean;
  readonly document: FailedDocument;
  readonly metadata: string | null;
}

function checked({ settings, store }: Engine, report: FailureReport): Checked {
  checkOptions('failures.record', report, CHECKS, ['documentPath', 'error']);
  const { documentPath, query, name = DOCUMENT_TASK } = report;
  const taskId = checkId('The task id', report.taskId ?? idOf(documentPath));
  const maxBytes = settings.limits.inputBytes;
  const inputText = toJsonText(report.args ?? [documentPath], {
    what: `the arguments of "${name}"`,
    maxBytes,
  });
  const what = `the metadata of "${taskId}"`;
  const metadata = report.metadata === undefined ? null : toJsonText(report.metadata, { what, maxBytes });
  const document = { path: documentPath, query: query?.slice(0, LONGEST_PATH).toWellFormed() ?? null };
  // A codec that fails is heard of now.
  store.payloads.seal(metadata ?? JSON.stringify(document), taskId, 'metadata');
  return { taskId, name, inputText, givenInput: report.args !== undefined, document, metadata };
}

/** The path itself where it can be an id. */
function idOf(path: string): string {
  if (path.length <= MAX_ID_LENGTH && isId(path) === null) return path;
  return `document:${createHash('sha256').update(path).digest('hex')}`;
}

/** Keeps a failure; resolves with the id of its task. */
export async function reportFailure(engine: Engine, report: FailureReport): Promise<string> {
  const given = checked(engine, report);
  assertOpen(engine);
  const { store, worker, fences } = engine;
  const { taskId, name } = given;
  await worker.ensureName(name, engine.handlers.get(name)?.retentionMs);
  const partition = store.partitionOf(taskId);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const { records } = await store.read(partition, [keys.head(taskId)]);
    const head = records[0] ? decodeHead(taskId, records[0]) : null;
    if (head !== null && head.purged !== null) {
      await purge(engine, head);
      continue;
    }
    if (head !== null) await assertReportable(engine, head, given);
    const failure = reportedOf(engine, report, given, head);
    const stamp: Stamp = stampFor(engine, taskId);
    const fence = Math.max(store.estimatedNowMs(partition), fences.highest(taskId) + 1);
    const batch =
      head === null ? newDocumentBatch(failure, fence, stamp) : reportedBatch(head, failure, stamp);
    if (await applied(engine, partition, batch)) return taskId;
  }
  throw changing(taskId);
}

const REPORTABLE: ReadonlySet<string> = new Set(['failed', 'completed', 'dead_letter']);

async function assertReportable(engine: Engine, head: Head, given: Checked): Promise<void> {
  const { taskId, name, status } = head.task;
  assertSameName(taskId, name, given.name);
  if (!REPORTABLE.has(status)) {
    const advice = status === 'cancelled' ? 'requeue it first' : 'its own attempt decides what becomes of it';
    throw wrongState(head.task, advice);
  }
  if (given.givenInput) assertSameInput(taskId, await inputTextOf(engine, head), given.inputText);
}

function reportedOf(
  engine: Engine,
  { error: thrown, workerId, version }: FailureReport,
  { taskId, name, inputText, document, metadata }: Checked,
  head: Head | null,
): ReportedFailure {
  const error = storedErrorOf(thrown, engine.settings);
  const told = {
    document,
    metadata,
    worker: workerId ?? null,
    version: version ?? engine.handlers.get(name)?.version ?? head?.task.version ?? FIRST_VERSION,
  };
  const known = head?.failed ?? null;
  return {
    ...failureFrom(engine, { taskId, error, thrown, known }, told),
    taskId,
    name,
    version: told.version,
    error,
    storedInput: engine.store.payloads.seal(inputText, taskId, 'input'),
  };
}
