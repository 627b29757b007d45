/** Whether a task under an id is the one that is meant. */
import { isDeepStrictEqual } from 'node:util';
import { RecoveryError } from '../errors.js';

/** @throws `INPUT_MISMATCH` */
export function assertSameInput(taskId: string, stored: string, given: string): void {
  if (stored === given || isDeepStrictEqual(JSON.parse(stored), JSON.parse(given))) return;
  throw new RecoveryError(
    'INPUT_MISMATCH',
    `Task "${taskId}" exists with other arguments. Use another id for other work, or the stored arguments.`,
    { details: { taskId } },
  );
}

/** @throws `INPUT_MISMATCH` */
export function assertSameName(taskId: string, stored: string, given: string): void {
  if (stored === given) return;
  throw new RecoveryError(
    'INPUT_MISMATCH',
    `The id "${taskId}" belongs to a task of "${stored}", not "${given}". Ids are shared by all tasks of a namespace: put the name in front.`,
    {
      details: { taskId },
    },
  );
}

/** Arguments left out at the end are no arguments. */
export function trimmed(args: readonly unknown[]): readonly unknown[] {
  let { length } = args;
  while (length > 0 && args[length - 1] === undefined) length -= 1;
  return args.slice(0, length);
}
