import type { RecoveryEvent } from '../../index.js';
import type { Command } from '../context.js';
import { timeText } from '../text.js';

export interface EventsOptions {
  readonly follow?: boolean;
  readonly after?: string;
}

/** What an event has to say, as `key=value`. */
export function eventText({ details }: RecoveryEvent): string {
  return Object.entries(details)
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}

/** `rekindle events`: printed as they come, one on each line, on a terminal too. */
export const printEvents: Command<EventsOptions> = async (
  { session, out, signal, closed },
  { follow = false, after },
) => {
  const events = session.recovery.events({
    signal: AbortSignal.any([signal, closed]),
    follow,
    ...(after === undefined ? {} : { after }),
  });
  for await (const event of events) {
    if (closed.aborted) break;
    if (out.json) out.jsonLine(event);
    else out.fields([timeText(event.timestamp), event.event, event.name, event.task_id, eventText(event)]);
  }
  return null;
};
