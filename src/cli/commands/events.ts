import type { Recovery, RecoveryEvent } from '../../index.js';
import type { Command } from '../context.js';
import { timeText } from '../text.js';

export interface EventsOptions {
  readonly follow?: boolean;
  readonly after?: string;
  /** Only the newest so many. */
  readonly limit?: number;
  /** Only those of this task. */
  readonly task?: string;
}

const HEAD = ['time', 'event', 'name', 'task', 'details'];

/** What an event has to say, as `key=value`. */
export function eventText({ details }: RecoveryEvent): string {
  return Object.entries(details)
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}

/** Those that are asked for. */
async function* chosen(
  recovery: Recovery,
  { follow = false, after, limit, task }: EventsOptions,
  signal: AbortSignal,
): AsyncGenerator<RecoveryEvent> {
  const isWanted = ({ task_id: id }: RecoveryEvent): boolean => task === undefined || id === task;
  let from = after;
  if (limit !== undefined) {
    const newest: RecoveryEvent[] = [];
    for await (const event of recovery.events({
      signal,
      follow: false,
      ...(from === undefined ? {} : { after: from }),
    })) {
      from = event.cursor ?? from;
      if (isWanted(event) && newest.push(event) > limit) newest.shift();
    }
    yield* newest;
    if (!follow) return;
  }
  const rest = recovery.events({ signal, follow, ...(from === undefined ? {} : { after: from }) });
  for await (const event of rest) if (isWanted(event)) yield event;
}

/** `rekindle events`: printed as they come, one on each line, on a terminal too. */
export const printEvents: Command<EventsOptions> = async ({ session, out, signal, closed }, options) => {
  if (out.terminal && !out.json) out.fields(HEAD);
  const events = chosen(session.recovery, options, AbortSignal.any([signal, closed]));
  for await (const event of events) {
    if (closed.aborted) break;
    if (out.json) out.jsonLine(event);
    else out.fields([timeText(event.timestamp), event.event, event.name, event.task_id, eventText(event)]);
  }
  return null;
};
