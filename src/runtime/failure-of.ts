/** What is kept of a task that ended failed, where its failures are tracked as documents. */
import { categoryOf } from '../domain/error-category.js';
import { fingerprintOf, normalizedMessage, topUserFrame } from '../domain/fingerprint.js';
import { toJsonText } from '../domain/json.js';
import type { StoredError } from '../domain/task.js';
import { kindOf } from '../errors.js';
import { log } from '../log.js';
import type { Failure, FailureDetails, KnownFailure } from '../state/failures.js';
import type { NewFailure } from '../state/live-failure.js';
import type { Engine, Handler } from './engine.js';
import type { DocumentOf } from './task-options.js';

/** A task that has failed. */
interface Failed {
  readonly taskId: string;
  /** As it is stored, after the censor. */
  readonly error: StoredError;
  readonly thrown: unknown;
  readonly known: KnownFailure | null;
}

const LONGEST_PATH = 4_096;
const LONGEST_LABEL = 128;

/** Null for tasks whose failures are not tracked. */
export function failureOf(
  engine: Engine,
  handler: Handler,
  args: readonly unknown[] | null,
  failed: Failed,
): NewFailure | null {
  if (handler.document === null && failed.known === null) return null;
  return failureFrom(engine, failed, documentOf(handler, args, failed.taskId), handler.version);
}

/** The failure of a document, however it was heard of. */
function failureFrom(
  engine: Engine,
  { taskId, error, thrown, known }: Failed,
  { path, query, metadata }: DocumentOf,
  version: string,
): NewFailure {
  const frame = frameOf(thrown);
  const before = known?.failure;
  const failure: Failure = {
    retryCount: before?.retryCount ?? 0,
    attempts: before?.attempts ?? 0,
    fingerprint: fingerprintOf({ ...error, frame }),
    category: categoryOf(error),
    worker: engine.settings.slot ?? engine.worker.identity.host,
    queryPattern: query === null ? null : label(normalizedMessage(query)) || null,
    version,
  };
  const details: FailureDetails = { documentPath: path, query, error, frame, metadata };
  return { failure, details: sealed(engine, taskId, details) };
}

/** Empty when it can't be kept: that must not keep the task's end from being written. */
function sealed({ settings, store }: Engine, taskId: string, details: FailureDetails): string {
  try {
    const maxBytes = settings.limits.inputBytes;
    const text = toJsonText(details, { what: `the failure of "${taskId}"`, maxBytes });
    return store.payloads.seal(text, taskId, 'failure');
  } catch (error) {
    log.recovery('the failure of %s could not be kept: %s', taskId, kindOf(error));
    return '';
  }
}

function label(text: string): string {
  return text.slice(0, LONGEST_LABEL).toWellFormed();
}

/** What it is called; its id when nobody can say. */
function documentOf(handler: Handler, args: readonly unknown[] | null, taskId: string): DocumentOf {
  const given = handler.document?.(args ?? []);
  return {
    path: answerOf(handler.name, given?.path) ?? taskId,
    query: answerOf(handler.name, given?.query),
    metadata: null,
  };
}

/** What a user's function answers, cut; null when it throws, or answers nonsense. */
function answerOf(name: string, ask: (() => unknown) | null | undefined): string | null {
  try {
    const answer = ask?.();
    if (typeof answer === 'string') return answer.slice(0, LONGEST_PATH).toWellFormed();
    // An async one by mistake: what it rejects with must not end the process.
    Promise.resolve(answer).catch(() => {});
  } catch (thrown) {
    log.recovery('document() or query() of %s failed: %s', name, kindOf(thrown));
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
