/** What is kept of a task that ended failed, where its failures are tracked as documents. */
import { categoryOf } from '../domain/error-category.js';
import { fingerprintOf, normalizedMessage, topUserFrame } from '../domain/fingerprint.js';
import type { StoredError } from '../domain/task.js';
import { kindOf } from '../errors.js';
import { log } from '../log.js';
import { LONGEST_LABEL } from '../domain/document-recovery.js';
import { failureFields } from '../state/failures.js';
import type { FailedDocument, Failure, FailureCause, KnownFailure } from '../state/failures.js';
import type { NewFailure } from '../state/live-failure.js';
import type { Fields } from '../storage/storage.js';
import type { Engine, Handler } from './engine.js';

/** A task that has failed. */
interface Failed {
  readonly taskId: string;
  /** As it is stored, after the censor. */
  readonly error: StoredError;
  readonly thrown: unknown;
  readonly known: KnownFailure | null;
}

export const LONGEST_PATH = 4_096;
// oxlint-disable-next-line no-control-regex -- they are what is taken out
const CONTROL = /[\u0000-\u001f\u007f]+/g;

/** Null for tasks whose failures are not tracked. */
export function failureOf(
  engine: Engine,
  handler: Handler,
  args: readonly unknown[] | null,
  failed: Failed,
): NewFailure | null {
  const { known } = failed;
  if (handler.document === null && known === null) return null;
  // One that was reported by hand keeps the name that it was given.
  const document = handler.document === null ? null : documentOf(engine, handler, args, failed.taskId);
  return failureFrom(engine, failed, { document, version: handler.version });
}

/** What else is known of a failure; what is null stays as it is stored. */
interface Told {
  readonly document: FailedDocument | null;
  readonly version: string;
  /** JSON text. */
  readonly metadata?: string | null;
  readonly worker?: string | null;
}

/** The failure of a document, however it was heard of. */
export function failureFrom(
  engine: Engine,
  { taskId, error, thrown, known }: Failed,
  { document, version, metadata = null, worker = null }: Told,
): NewFailure {
  const { settings } = engine;
  const frame = frameOf(thrown);
  const before = known?.failure;
  const failure: Failure = {
    retryCount: before?.retryCount ?? 0,
    attempts: before?.attempts ?? 0,
    fingerprint: fingerprintOf({ ...error, frame }),
    category: ownCategory(engine, error) ?? categoryOf(error),
    worker: worker ?? settings.slot ?? engine.worker.identity.host,
    queryPattern: document === null ? (before?.queryPattern ?? null) : patternOf(document),
    version,
  };
  const seal = (value: string, what: string): string => sealed(engine, taskId, value, what);
  const cause: FailureCause = { error, frame };
  const { document: documentField, cause: causeField, metadata: metadataField, at } = failureFields;
  return {
    failure,
    fields: {
      [causeField]: seal(JSON.stringify(cause), 'failure'),
      ...(document === null ? {} : keptIf(documentField, seal(JSON.stringify(document), 'document'))),
      ...(metadata === null ? {} : keptIf(metadataField, seal(metadata, 'metadata'))),
      [at]: { fromNow: 0 },
    },
  };
}

/** A field whose text could not be kept stays as it is stored. */
function keptIf(field: string, text: string): Fields {
  return text === '' ? {} : { [field]: text };
}

/** What the user's own function says; null when it says nothing of use. */
function ownCategory({ settings }: Engine, error: StoredError): string | null {
  const { categorize } = settings.documents;
  if (categorize === null) return null;
  const answer = answerOf('categorize()', () => categorize({ ...error }));
  return label(answer ?? '') || null;
}

function patternOf({ query }: FailedDocument): string | null {
  return query === null ? null : label(normalizedMessage(query)) || null;
}

/** Empty when it can't be kept: that must not keep the task's end from being written. */
function sealed({ store }: Engine, taskId: string, text: string, what: string): string {
  try {
    return store.payloads.seal(text, taskId, what);
  } catch (error) {
    log.recovery('the %s of %s could not be kept: %s', what, taskId, kindOf(error));
    return '';
  }
}

/** Fit to be a part of an index's name. */
function label(text: string): string {
  return text.replace(CONTROL, ' ').trim().slice(0, LONGEST_LABEL).toWellFormed();
}

/** What it is called; its id when nobody can say. */
function documentOf(
  engine: Engine,
  handler: Handler,
  args: readonly unknown[] | null,
  taskId: string,
): FailedDocument {
  const given = handler.document?.(args ?? []);
  const path = answerOf(`document() of ${handler.name}`, given?.path);
  if (path === null) engine.emitter.alert('document_unnamed', { task_id: taskId, name: handler.name });
  return {
    path: path ?? taskId,
    query: answerOf(`query() of ${handler.name}`, given?.query),
  };
}

/** What a user's function answers, cut; null when it throws, or answers nonsense. */
function answerOf(what: string, ask: (() => unknown) | null | undefined): string | null {
  try {
    const answer = ask?.();
    if (typeof answer === 'string') return answer.slice(0, LONGEST_PATH).toWellFormed();
    // An async one by mistake: what it rejects with must not end the process.
    Promise.resolve(answer).catch(() => {});
  } catch (thrown) {
    log.recovery('%s failed: %s', what, kindOf(thrown));
  }
  return null;
}

function frameOf(thrown: unknown): string | null {
  try {
    const stack: unknown = thrown instanceof Error ? thrown.stack : undefined;
    return typeof stack === 'string' ? topUserFrame(stack) : null;
  } catch {
    return null;
  }
}
