import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { exploreCrashes } from 'rekindle/testing';
import { importPrices, outside, recovery as application } from './import.mjs';

after(() => application.shutdown());

const outsideIn = (world) => ({
  prices: {
    upsert: (key, cents) => world.effect(key, cents),
    async skusOf(id) {
      const keys = world.effects.map(({ key }) => key).filter((key) => key.startsWith(`${id}/`));
      return new Set(keys.map((key) => key.slice(id.length + 1)));
    },
  },
  mail: { send: (key, summary) => world.effect(key, summary) },
});

const row = fc.record({ sku: fc.stringMatching(/^[a-z]{1,3}$/), cents: fc.integer({ min: -5, max: 9_999 }) });
const input = fc.record({
  id: fc.constant('july'),
  rows: fc.uniqueArray(row, { selector: ({ sku }) => sku, maxLength: 6 }),
});

test('any list of prices survives a crash at any place', async () => {
  const report = await exploreCrashes({
    define: (recovery, world) => {
      Object.assign(outside, outsideIn(world));
      return importPrices.with(recovery);
    },
    input,
    inputs: 15,
  });
  assert.equal(report.exhaustive, true);
});

/** Counts beside the map: what a dead worker has counted is gone. */
const withCounter = (recovery, { prices, mail }) =>
  recovery.withRecovery(
    async (ctx, { id, rows }) => {
      let done = 0;
      const insert = async ({ sku, cents }) => {
        await prices.upsert(`${id}/${sku}`, cents);
        done += 1;
      };
      await ctx.map('rows', rows, insert, { key: ({ sku }) => sku, keepResults: false });
      await ctx.step('mail', () => mail.send(ctx.idempotencyKey('mail'), { done }));
      return { done };
    },
    { name: 'import-prices', taskId: ({ id }) => id },
  );

test('rows that are counted beside the map are lost, and one row is enough to show it', async () => {
  const exploring = exploreCrashes({
    define: (recovery, world) => withCounter(recovery, outsideIn(world)),
    input,
    seed: 7,
  });
  await assert.rejects(exploring, (error) => {
    assert.equal(error.code, 'CRASH_UNSAFE');
    assert.match(
      error.message,
      /items of "rows": the call returned \{ done: 0 \}; without a fault it returned \{ done: 1 \}/,
    );
    assert.equal(error.details.input.rows.length, 1);
    return true;
  });
});
