/** Reasons, categories, workers and queries that no failure has any more are forgotten: lists of them would only grow. */
import { failureIndexes, FACETS } from '../state/failures.js';
import type { Facet } from '../state/failures.js';
import { keys } from '../state/keys.js';
import { makeToken } from '../state/token.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import { applied } from './commits.js';
import type { Engine } from './engine.js';
import { notAfter } from './engine.js';

/**
 * Forgets the values that were seen last longer ago than any failure is kept, and that none has. One that comes up again in
 * between is known again with its next failure.
 */
export async function forgetValues(engine: Engine, keptMs: number): Promise<void> {
  const { store } = engine;
  for (const partition of store.partitions) {
    for (const facet of FACETS) {
      const old = { to: { fromNow: -keptMs } };
      for await (const { entries } of store.pages(partition, failureIndexes.values(facet), old)) {
        const values = entries.map(({ id }) => id);
        const counts = await Promise.all(
          values.map((value) => store.countIn(partition, failureIndexes.by(facet, value), {})),
        );
        const gone = values.filter((_, at) => counts[at] === 0);
        if (gone.length > 0) await forget(engine, partition, facet, gone);
      }
    }
  }
}

async function forget(
  engine: Engine,
  partition: string,
  facet: Facet,
  values: readonly string[],
): Promise<void> {
  const key = keys.forgottenValues;
  const { records } = await engine.store.readEach(partition, [key]);
  const [record = null] = records;
  if (record instanceof Error) return;
  // Whoever else is at it at this moment does the same.
  await applied(engine, partition, {
    guard: { key, expect: record?.get(TOKEN_FIELD) ?? null, next: makeToken(1, engine.random.nonce(), 0) },
    notAfter: notAfter(engine, partition),
    set: [{ key, fields: { at: { fromNow: 0 } } }],
    index: values.map((id) => ({ index: failureIndexes.values(facet), id, score: null })),
  });
}
