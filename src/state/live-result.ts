/** A task's result on its way to the storage. */
import type { Draft } from './draft.js';
import { INLINE_CHARACTERS } from './head.js';
import { keys } from './keys.js';

export type ResultText =
  { readonly kind: 'none' | 'unstorable' } | { readonly kind: 'text'; readonly text: string };

/** Fields of the head that tell of it; a long one has a record of its own. */
export function resultFields(draft: Draft, taskId: string, result: ResultText): Record<string, string> {
  if (result.kind !== 'text') return { resultKind: result.kind };
  if (result.text.length <= INLINE_CHARACTERS) return { resultKind: 'inline', result: result.text };
  draft.set(keys.result(taskId), { data: result.text });
  return { resultKind: 'record' };
}
