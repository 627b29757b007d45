/** Writes many tasks at once, behind the library's back: heads as it writes them, with their index entries. */

const PAGE = 10_000;

/** Redis makes the records itself: a million of them would take minutes to send. */
const LOAD = `local partition, prefix, from, count, fields = ARGV[1], ARGV[2], ARGV[3], ARGV[4], cjson.decode(ARGV[5])
local indexes = cjson.decode(ARGV[6])
for i = from, from + count - 1 do
  local id = prefix .. string.format('%07d', i)
  redis.call('HSET', '{' .. partition .. '}:r:h:' .. id, unpack(fields))
  for _, each in ipairs(indexes) do
    redis.call('ZADD', '{' .. partition .. '}:i:' .. each.index, each.score, id)
  end
end`;

export function redisLoader(client) {
  return async (partition, { prefix, count, fields, indexes }) => {
    const flat = JSON.stringify(Object.entries(fields).flat());
    for (let from = 0; from < count; from += PAGE) {
      const size = Math.min(PAGE, count - from);
      const place = [partition, prefix, String(from), String(size)];
      await client.eval(LOAD, 0, ...place, flat, JSON.stringify(indexes));
    }
  };
}

export function sqliteLoader(db) {
  const numbers = (from, size) =>
    `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${from + size - 1})`;
  return async (partition, { prefix, count, fields, indexes }) => {
    // In the order of the table's key, or every row would split a page.
    const names = Object.keys(fields).toSorted();
    const values = names.map(() => '(?, ?)').join(', ');
    db.exec('PRAGMA synchronous=OFF');
    for (let from = 0; from < count; from += PAGE) {
      const size = Math.min(PAGE, count - from);
      db.exec('BEGIN IMMEDIATE');
      db.prepare(
        `${numbers(from, size)}, f(field, value) AS (VALUES ${values})
        INSERT INTO rekindle_records (partition, key, field, value)
        SELECT ?, 'h:' || ? || printf('%07d', i), field, value FROM n CROSS JOIN f`,
      ).run(...names.flatMap((name) => [name, fields[name]]), partition, prefix);
      for (const { index, score } of indexes) {
        db.prepare(
          `${numbers(from, size)} INSERT INTO rekindle_index (partition, idx, id, score)
          SELECT ?, ?, ? || printf('%07d', i), ? FROM n`,
        ).run(partition, index, prefix, score);
      }
      db.exec('COMMIT');
    }
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  };
}

/** All records of one task, again and again under other ids, with an entry in an index each. */
const COPY = `local partition, from, count, template, prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
for i = from, from + count - 1 do
  local id = prefix .. string.format('%07d', i)
  for _, key in ipairs(KEYS) do
    redis.call('COPY', key, string.sub(key, 1, -1 - #template) .. id)
  end
  redis.call('ZADD', '{' .. partition .. '}:i:' .. ARGV[6], ARGV[7], id)
end`;

export function redisCopier(client) {
  return async (partition, { template, prefix, count, index, score }) => {
    const found = await client.keys(`{${partition}}:r:*:${template}`);
    const size = Math.max(1, Math.min(1_000, count));
    for (let from = 0; from < count; from += size) {
      const rest = [partition, from, Math.min(size, count - from), template, prefix, index, score];
      await client.eval(COPY, found.length, ...found, ...rest.map(String));
    }
  };
}

export function sqliteCopier(db) {
  return async (partition, { template, prefix, count, index, score }) => {
    db.exec('CREATE TEMP TABLE IF NOT EXISTS template (key, field, value); DELETE FROM template');
    db.prepare(
      `INSERT INTO template SELECT substr(key, 1, length(key) - length(?)), field, value
      FROM rekindle_records WHERE partition = ? AND key LIKE '%:' || ? ORDER BY key, field`,
    ).run(template, partition, template);
    const numbers = `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${count - 1})`;
    db.exec('BEGIN IMMEDIATE');
    db.prepare(
      `${numbers} INSERT INTO rekindle_records (partition, key, field, value)
      SELECT ?, t.key || ? || printf('%07d', i), t.field, t.value FROM template AS t CROSS JOIN n`,
    ).run(partition, prefix);
    db.prepare(
      `${numbers} INSERT INTO rekindle_index (partition, idx, id, score)
      SELECT ?, ?, ? || printf('%07d', i), ? FROM n`,
    ).run(partition, index, prefix, score);
    db.exec('COMMIT');
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  };
}
