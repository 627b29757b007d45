/** Prices of a supplier go into a table, row by row. A task at module level, on the Recovery of the application. */
import { createRecovery, memoryStorage } from 'rekindle';

export const recovery = createRecovery({ storage: memoryStorage() }); // in a worker: sqliteStorage('recovery.db')

/** What the import talks to; the worker puts in its own, a test puts in stand-ins. */
export const outside = { prices: null, mail: null };

export const importPrices = recovery.withRecovery(
  async (ctx, { id, rows }) => {
    const insert = async ({ sku, cents }) => {
      if (cents < 0) throw new Error(`${sku} has a negative price`);
      await outside.prices.upsert(`${id}/${sku}`, cents);
    };
    const { done, failed } = await ctx.map('rows', rows, insert, {
      key: ({ sku }) => sku,
      concurrency: 4,
      keepResults: false,
      minSuccessRatio: 0,
    });
    const summary = { done, failed: failed.map(({ key }) => key) };
    await ctx.step('mail', () => outside.mail.send(ctx.idempotencyKey('mail'), summary));
    return summary;
  },
  {
    name: 'import-prices',
    taskId: ({ id }) => id,
    // Killed before the first record: what is in the table already need not be done again.
    discover: async (map, keys, { id }) => {
      const there = await outside.prices.skusOf(id);
      return new Map(keys.filter((sku) => there.has(sku)).map((sku) => [sku, undefined]));
    },
  },
);
