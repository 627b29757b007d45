/** What names a map's items, and what tells which of them failed. */
import { checkId } from '../domain/ids.js';
import type { StoredError } from '../domain/task.js';
import { RecoveryError } from '../errors.js';

/** An item that failed. */
export interface FailedItem {
  readonly key: string;
  readonly error: StoredError;
}

/** Failed items named in an error's details. */
const LISTED = 100;

/** The keys of a map's items. @throws `DUPLICATE_KEY`, `INVALID_ID`, `INVALID_VALUE` */
export function keysOf<T>(
  name: string,
  items: readonly T[],
  key: (item: T, index: number) => string,
): string[] {
  if (!Array.isArray(items)) throw new RecoveryError('INVALID_VALUE', `map "${name}" needs a list of items.`);
  const seen = new Set<string>();
  // A hole in a list is an item, too.
  return Array.from(items, (item, index) => {
    const text = checkId(`The key of item ${index} of map "${name}"`, key(item, index));
    if (seen.has(text)) {
      throw new RecoveryError(
        'DUPLICATE_KEY',
        `map "${name}": the key "${text}" is given twice; keys are unique.`,
        {
          details: { key: text, index },
        },
      );
    }
    seen.add(text);
    return text;
  });
}

/** @param quoted whether the message may tell what the first one said: it is stored with the task, in the clear */
export function itemsFailed(
  name: string,
  total: number,
  failed: readonly FailedItem[],
  quoted: boolean,
): RecoveryError {
  const [first] = failed;
  const said = quoted ? `: ${first?.error.message}` : '';
  return new RecoveryError(
    'ITEMS_FAILED',
    `${failed.length} of ${total} items of map "${name}" failed, first "${first?.key}"${said}`,
    { details: { map: name, total, failed: failed.slice(0, LISTED) } },
  );
}
