/** Events as fields of the log, and back. */
import { RECOVERY_EVENT_TYPES } from '../domain/events.js';
import type { RecoveryEvent, RecoveryEventType } from '../domain/events.js';
import type { StoredError } from '../domain/task.js';
import type { Fields, StoredRecord, Value } from '../storage/storage.js';

/** What an event of a task says about it. */
export interface EventSubject {
  readonly taskId: string;
  readonly name: string;
  readonly attempt: number;
  readonly recovered: boolean;
}

const OWN_FIELDS = new Set(['event', 'task_id', 'name', 'timestamp', 'recovery', 'seq']);

/** The fields of an event in the log; the storage's clock fills in the time. */
export function eventFields(
  event: RecoveryEventType,
  subject: EventSubject,
  seq: number,
  details: Readonly<Record<string, string>> = {},
): Record<string, Value> {
  return {
    event,
    task_id: subject.taskId,
    name: subject.name,
    timestamp: { fromNow: 0 },
    recovery: String(subject.recovered),
    seq: String(seq),
    attempt: String(subject.attempt),
    ...details,
  };
}

/** What an event says of an error: never its message. */
export function errorDetails({ name, code }: StoredError): Readonly<Record<string, string>> {
  return { error_name: name, ...(code === null ? {} : { error_code: code }) };
}

/** A typed event from a record of the log. */
export function decodeEvent(fields: StoredRecord, cursor: string | null = null): RecoveryEvent {
  const details: Record<string, string> = {};
  for (const [name, value] of fields) {
    if (!OWN_FIELDS.has(name)) details[name] = value;
  }
  return {
    event: RECOVERY_EVENT_TYPES.find((type) => type === fields.get('event')) ?? 'alert',
    task_id: fields.get('task_id') ?? null,
    name: fields.get('name') ?? null,
    timestamp: Number(fields.get('timestamp') ?? 0),
    recovery: fields.get('recovery') === 'true',
    seq: fields.has('seq') ? Number(fields.get('seq')) : null,
    cursor,
    details,
  };
}

/** The same event for listeners in this process, at the time that its commit was answered with. */
export function localEvent(fields: Fields, nowMs: number): RecoveryEvent {
  const texts = new Map<string, string>();
  for (const [name, value] of Object.entries(fields)) {
    texts.set(name, typeof value === 'string' ? value : String(nowMs + value.fromNow));
  }
  return decodeEvent(texts);
}
