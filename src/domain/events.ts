/** What happens to a task, as told to listeners, to `events()` and to the storage's log. */
export const RECOVERY_EVENT_TYPES = [
  'task_submitted',
  'task_dispatched',
  'task_started',
  'checkpoint_created',
  'item_completed',
  'processing_resumed',
  'recovery_started',
  'recovery_completed',
  'recovery_failed',
  'task_completed',
  'task_failed',
  'task_cancelled',
  'task_released',
  'task_retrying',
  'task_requeued',
  'dead_lettered',
  'lease_lost',
  'alert',
] as const;

/** The kinds of event. `checkpoint_created` and `item_completed` are written only on request: an event is a write. */
export type RecoveryEventType = (typeof RECOVERY_EVENT_TYPES)[number];

/** An event. Those of a task are written in the same commit as what they tell; `lease_lost` and `alert` are local. */
export interface RecoveryEvent {
  readonly event: RecoveryEventType;
  readonly task_id: string | null;
  readonly name: string | null;
  /** ms since 1970, by the storage's clock. */
  readonly timestamp: number;
  /** Whether the attempt it belongs to is a recovered one. */
  readonly recovery: boolean;
  /** Number of the event in its task, from 1, without gaps; null for local events. */
  readonly seq: number | null;
  /** Where to continue behind it with `events({ after })`; null for events heard with `on`. */
  readonly cursor: string | null;
  /** What else there is to say: counts, names, reasons. */
  readonly details: Readonly<Record<string, string>>;
}
