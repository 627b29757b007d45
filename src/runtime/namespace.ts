/** The namespace's meta record: a client that believes in another layout would not find, or would tear, its records. */
import { RecoveryError } from '../errors.js';
import { HASH_NAME, keys } from '../state/keys.js';
import { refusalError } from '../state/record-writer.js';
import { makeToken } from '../state/token.js';
import type { StoredRecord } from '../storage/storage.js';
import type { Engine } from './engine.js';
import { notAfter } from './engine.js';

/** Version of the records' layout. A client that knows another one is refused. */
const LAYOUT = '1';
const TRIES = 20;

function expectedLayout({ store }: Engine): Readonly<Record<string, string>> {
  return { layout: LAYOUT, partitions: String(store.partitions.length), hash: HASH_NAME };
}

function assertLayout(meta: StoredRecord, expected: Readonly<Record<string, string>>): void {
  for (const [field, value] of Object.entries(expected)) {
    const found = meta.get(field) ?? 'nothing';
    if (found === value) continue;
    throw new RecoveryError(
      'LAYOUT_MISMATCH',
      `The namespace was written with ${field} = ${found}, this client has ${value}. ` +
        'Use the same number of partitions and the same major version, or another namespace.',
      { details: { field, found, expected: value } },
    );
  }
}

/** Whether the namespace has been written to; writes nothing. @throws `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE` */
export async function namespaceExists(engine: Engine): Promise<boolean> {
  const { store } = engine;
  const { records } = await store.read(store.home, [keys.meta]);
  if (!records[0]) return false;
  assertLayout(records[0], expectedLayout(engine));
  store.known = true;
  return true;
}

/** Makes the meta record, or checks the one that is there. @throws `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE` */
export async function openNamespace(engine: Engine): Promise<void> {
  const { store, queue, random } = engine;
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (await namespaceExists(engine)) return;
    const { outcome } = await queue.commit(store.home, {
      guard: { key: keys.meta, expect: null, next: makeToken(1, random.nonce(), 0) },
      notAfter: notAfter(engine, store.home),
      set: [{ key: keys.meta, fields: expectedLayout(engine) }],
    });
    if (outcome.status === 'applied' || outcome.status === 'duplicate') {
      // It was there before: the storage has lost it, with all that was in it.
      if (store.known) engine.emitter.alert('storage_rolled_back');
      store.known = true;
      return;
    }
    if (outcome.status === 'refused') throw refusalError(outcome);
  }
  throw new RecoveryError(
    'STORAGE_UNAVAILABLE',
    'The namespace could not be opened; its meta record keeps changing.',
    {
      retryable: true,
    },
  );
}
