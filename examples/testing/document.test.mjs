import assert from 'node:assert/strict';
import { test } from 'node:test';
import Database from 'libsql';
import { exploreCrashes } from 'rekindle/testing';
import { defineDocument } from './document.mjs';

const PAGES = ['It was dark', 'and it rained', 'all night'].map((text, at) => ({ number: at + 1, text }));
const input = { id: 'novel' };

/** The row after the statements among the effects ran on a real table, and what the last one changed. */
function replayed(effects) {
  const database = new Database(':memory:');
  database.exec('CREATE TABLE documents (id TEXT PRIMARY KEY, status TEXT, words INTEGER, fence INTEGER)');
  database.exec("INSERT INTO documents VALUES ('novel', 'new', NULL, 0)");
  let changes = 0;
  for (const { value } of effects) {
    if (value.sql !== undefined) ({ changes } = database.prepare(value.sql).run(...value.params));
  }
  const { status, words } = database.prepare('SELECT status, words FROM documents').get();
  database.close();
  return { changes, row: { status, words } };
}

/** What is outside survives a crash, so all of it is kept in the effects of the world. */
const outsideIn = (world, rewrite = (sql) => sql) => ({
  extract: async () => PAGES,
  database: {
    async run(sql, params) {
      await world.effect(`update ${params}`, { sql: rewrite(sql), params });
      return replayed(world.effects).changes;
    },
  },
  index: { put: (key, text) => world.effect(key, { text }) },
});

/** Fences differ from run to run, so effects are not compared by key: this says what must be true. */
function invariant({ effects }) {
  assert.deepEqual(replayed(effects).row, { status: 'done', words: 8 });
  const indexed = effects.filter(({ value }) => value.text !== undefined);
  assert.deepEqual(
    indexed.map(({ key }) => key),
    ['novel/1', 'novel/2', 'novel/3'],
  );
}

test('a document survives a crash at any place', async () => {
  const report = await exploreCrashes({
    define: (recovery, world) => defineDocument(recovery, outsideIn(world)),
    input,
    sameEffects: false,
    invariant,
  });
  assert.equal(report.exhaustive, true);
  assert.equal(report.effects.length, 5);
});

test('without the fence in its WHERE a zombie sets a finished document back', async () => {
  const unfenced = (sql) => sql.replace(' AND fence <= ?3', '');
  const exploring = exploreCrashes({
    define: (recovery, world) => defineDocument(recovery, outsideIn(world, unfenced)),
    input,
    sameEffects: false,
    invariant,
  });
  await assert.rejects(exploring, (error) => {
    assert.equal(error.code, 'CRASH_UNSAFE');
    assert.match(error.message, /^Broken by zombie-before effect "update processing/);
    assert.match(error.message, /the invariant does not hold/);
    return true;
  });
});
