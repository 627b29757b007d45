/** What it costs to count an index, however many entries it has. */
import { join } from 'node:path';
import { redisStorage } from '../dist/redis.js';
import { sqliteStorage } from '../dist/sqlite.js';
import { median, openSqlite, row, show, startRedis, summary, tempFolder } from './harness.mjs';
import { redisLoader, sqliteLoader } from './loaders.mjs';

const FEW = 1_000;
const PARTITION = 'bench:0';
const CALLS = 2_000;

/** One call on each index in turn, so that both meet the same moods of the machine: a call takes a few us. */
async function alternate(count, storage) {
  const times = { few: [], many: [] };
  const ratios = [];
  for (let round = 0; round <= count; round += 1) {
    const taken = { few: [], many: [] };
    for (let call = 0; call < CALLS; call += 1) {
      for (const index of ['few', 'many']) {
        const start = performance.now();
        await storage.count(PARTITION, index);
        taken[index].push(1_000 * (performance.now() - start));
      }
    }
    // The first round only warms up.
    if (round === 0) continue;
    for (const index of ['few', 'many']) times[index].push(median(taken[index]));
    ratios.push(median(taken.many) / median(taken.few));
  }
  return { few: summary(times.few), many: summary(times.many), ratio: median(ratios) };
}

/** Two indexes side by side in one storage, so that nothing but their size differs. */
async function compare(name, storage, load, million, quick) {
  const sizes = { few: FEW, many: million };
  for (const [index, count] of Object.entries(sizes)) {
    await load(PARTITION, {
      prefix: `${index}-`,
      count,
      fields: { f: '1' },
      indexes: [{ index, score: Date.now() }],
    });
    const counted = await storage.count(PARTITION, index);
    if (counted !== count) throw new Error(`${counted} entries counted, not ${count}.`);
  }
  const found = await alternate(quick ? 5 : 11, storage);
  const measure = `${name}: to count an index of ${million.toLocaleString('en')}`;
  const [ours, floor] = [show(found.many, 1, ' us'), show(found.few, 1, ' us')];
  return {
    ...row(measure, ours, floor, found.ratio, { most: 1.5 }),
    note: `the floor is the same with ${FEW.toLocaleString('en')} entries`,
  };
}

async function onRedis(million, quick) {
  const redis = await startRedis();
  try {
    const client = redis.connect();
    return await compare('Redis', redisStorage(client), redisLoader(client), million, quick);
  } finally {
    await redis.stop();
  }
}

async function onSqlite(million, quick) {
  const folder = tempFolder();
  const path = join(folder.path, 'counts.db');
  const storage = sqliteStorage(path);
  const db = openSqlite(path);
  try {
    // Makes the tables.
    await storage.count(PARTITION, 'none');
    return await compare('SQLite', storage, sqliteLoader(db), million, quick);
  } finally {
    await storage.close();
    db.close();
    folder.remove();
  }
}

export async function counts({ quick }) {
  const million = quick ? 100_000 : 1_000_000;
  return [await onRedis(million, quick), await onSqlite(million, quick)];
}
