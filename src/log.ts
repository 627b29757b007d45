import debug from 'debug';
import type { Debugger } from 'debug';

/** Debug output under `rekindle:*` (set `DEBUG=rekindle:*`). Ids and sizes only: never payloads, URLs or secrets. */
export const log: Record<'queue' | 'task' | 'recovery' | 'storage', Debugger> = {
  queue: debug('rekindle:queue'),
  task: debug('rekindle:task'),
  recovery: debug('rekindle:recovery'),
  storage: debug('rekindle:storage'),
};
