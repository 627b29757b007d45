/** What a look at health and metrics costs with many tasks in the store, against the same with few. */
import { join } from 'node:path';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { sqliteStorage } from '../dist/sqlite.js';
import { openSqlite, rounds, row, show, startRedis, tempFolder } from './harness.mjs';
import { redisLoader, sqliteLoader } from './loaders.mjs';

const FEW = 1_000;
const NAMES = ['invoice', 'import', 'mail', 'report', 'thumbnail'];
const HOUR = 3_600_000;
const CALLS = 10;
const OTHER = 'another-worker';
/** Of a thousand tasks how many are in a state, and by when these are sorted. */
const SHARES = [
  { status: 'completed', of1000: 930, score: () => Date.now() - HOUR },
  { status: 'failed', of1000: 20, score: () => Date.now() - HOUR },
  { status: 'dead_letter', of1000: 10, score: () => Date.now() - HOUR },
  { status: 'cancelled', of1000: 10, score: () => Date.now() - HOUR },
  // The recovery queue is sorted by priority before the time.
  { status: 'orphaned', of1000: 10, score: () => 10 * 1e13 + Date.now() - HOUR },
  { status: 'processing', of1000: 15, score: () => Date.now() + 24 * HOUR },
  // With leases that are over: sweeps keep them few, but here their part is the same.
  { status: 'processing', of1000: 5, score: () => Date.now() - HOUR },
];

/** Tasks of all names, spread over the states. */
function groups(count) {
  const createdAt = String(Date.now() - 2 * HOUR);
  return NAMES.flatMap((name) =>
    SHARES.map(({ status, of1000, score: scoreNow }, at) => {
      const score = scoreNow();
      const index = [{ index: `${status}:${name}`, score }];
      if (status === 'processing') {
        index.push({ index: `held:${OTHER}`, score });
        if (at % 2 === 0) index.push({ index: `stuck:${name}`, score: Date.now() - HOUR });
      }
      const fields = {
        token: '1.nonce.0',
        status,
        name,
        priority: '0',
        owner: OTHER,
        leaseUntil: String(score),
        endedAt: String(score),
        attempt: '1',
        createdAt,
        eventSeq: '2',
        input: '[]',
      };
      const size = (count * of1000) / 1_000 / NAMES.length;
      return { prefix: `${name}-${at}-`, count: size, fields, indexes: index };
    }),
  );
}

/** A namespace with many tasks, and a day of counters. */
class Case {
  constructor(storage, namespace) {
    this.storage = storage;
    this.partition = `${namespace}:0`;
    this.recovery = createRecovery({ storage, namespace });
  }

  async fill(load, count) {
    // Writes what a namespace has, and the tables.
    await this.recovery.withRecovery(async () => {}, { name: NAMES[0] })();
    for (const group of groups(count)) await load(this.partition, group);
    const guard = { key: 'bench', expect: null, next: '1.nonce.0' };
    const figures = ['attempts', 'succeeded', 'succeededMs', 'failed', 'failures'];
    const slots = Array.from({ length: 12 }, (_, slot) => figures.map((name) => [`${slot}:${name}`, '7']));
    const hour = Math.floor(Date.now() / HOUR);
    const set = Array.from({ length: 25 }, (_, back) => ({
      key: `t:${hour - back}`,
      fields: Object.fromEntries(slots.flat()),
    }));
    const index = NAMES.map((id) => ({ index: 'names', id, score: 0 }));
    const batch = { guard, notAfter: Date.now() + HOUR, set, index };
    const { outcomes } = await this.storage.commit(this.partition, [batch]);
    if (outcomes[0].status !== 'applied') throw new Error('The counters were not written.');
    const { task_state_distribution: counts, failed_recoveries_24h: failed } = await this.recovery.metrics();
    const all = Object.values(counts).reduce((sum, each) => sum + each, 0);
    // The one that was run has left its own.
    if (all !== count + 1 || failed < 7 * 24 * 12) throw new Error(`${all} tasks, ${failed} failed.`);
  }

  /** The mean time of a call, in ms. */
  async time(method) {
    const start = performance.now();
    for (let n = 0; n < CALLS; n += 1) await this.recovery[method]();
    return (performance.now() - start) / CALLS;
  }
}

async function compare(name, open, million, quick) {
  const cases = { few: await open('few', FEW), many: await open('many', million) };
  const lines = [];
  for (const method of ['health', 'metrics']) {
    const found = await rounds(quick ? 7 : 21, {
      few: () => cases.few.time(method),
      many: () => cases.many.time(method),
    });
    const what = `${name}: ${method}() with ${million.toLocaleString('en')} tasks`;
    const ratio = found.many.median / found.few.median;
    lines.push({
      ...row(what, show(found.many, 2, ' ms'), show(found.few, 2, ' ms'), ratio, { most: 1.5 }),
      note: `the floor is the same with ${FEW.toLocaleString('en')} tasks`,
    });
  }
  for (const each of Object.values(cases)) await each.recovery.shutdown();
  return lines;
}

async function onRedis(million, quick) {
  const redis = await startRedis();
  try {
    const client = redis.connect();
    const open = async (name, count) => {
      const test = new Case(redisStorage(client), name);
      await test.fill(redisLoader(client), count);
      return test;
    };
    return await compare('Redis', open, million, quick);
  } finally {
    await redis.stop();
  }
}

async function onSqlite(million, quick) {
  const folder = tempFolder();
  const opened = [];
  try {
    const open = async (name, count) => {
      const path = join(folder.path, `${name}.db`);
      const storage = sqliteStorage(path);
      // It makes the tables.
      await storage.read(name, []);
      const db = openSqlite(path);
      opened.push(db);
      const test = new Case(storage, name);
      await test.fill(sqliteLoader(db), count);
      return test;
    };
    return await compare('SQLite', open, million, quick);
  } finally {
    for (const db of opened) db.close();
    folder.remove();
  }
}

export async function operations({ quick }) {
  const million = quick ? 100_000 : 1_000_000;
  return [...(await onRedis(million, quick)), ...(await onSqlite(million, quick))];
}
