import { fromJsonText } from '../domain/json.js';
import { RecoveryError } from '../errors.js';
import type { Head } from '../state/head.js';
import { keys } from '../state/keys.js';
import type { Engine } from './engine.js';

/** What a completed task came to. @throws `RESULT_NOT_STORABLE`, `CORRUPT_RECORD` */
export async function keptResult(
  { store }: Engine,
  head: Head,
  unstorable: () => RecoveryError,
): Promise<unknown> {
  const { taskId } = head.task;
  if (head.resultKind === 'none') return undefined;
  if (head.resultKind === 'unstorable') throw unstorable();
  let text = head.result;
  if (head.resultKind === 'record') {
    const { records } = await store.read(store.partitionOf(taskId), [keys.result(taskId)]);
    text = records[0]?.get('data') ?? null;
  }
  if (text === null) throw new RecoveryError('CORRUPT_RECORD', `The result of task "${taskId}" is gone.`);
  return fromJsonText(store.payloads.open(text, taskId, 'result'), `the result of task "${taskId}"`);
}
