/** What it costs to find, claim and finish 100 orphans, however many other tasks there are. */
import { join } from 'node:path';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { sqliteStorage } from '../dist/sqlite.js';
import { openSqlite, rounds, row, show, startRedis, tempFolder } from './harness.mjs';
import { redisLoader, sqliteLoader } from './loaders.mjs';

const ORPHANS = 100;
const NAME = 'bench';
const HOUR = 3_600_000;

const TOKEN = '1.nonce.0';

function head(status, owner, leaseUntil, more = {}) {
  const createdAt = String(Date.now() - HOUR);
  const rest = {
    leaseUntil: String(leaseUntil),
    attempt: '1',
    createdAt,
    eventSeq: '2',
    input: '[]',
    ...more,
  };
  return { status, name: NAME, priority: '0', owner, ...rest };
}

export function finished(prefix, count) {
  const endedAt = Date.now() - HOUR / 2;
  const more = { token: TOKEN, progress: '100', resultKind: 'none', endedAt: String(endedAt) };
  const fields = head('completed', 'somebody', endedAt, more);
  return { prefix, count, fields, indexes: [{ index: `completed:${NAME}`, score: endedAt }] };
}

function running(prefix, count, owner) {
  const leaseUntil = Date.now() + 24 * HOUR;
  const fields = head('processing', owner, leaseUntil, { token: TOKEN });
  const indexes = [`processing:${NAME}`, `held:${owner}`].map((index) => ({ index, score: leaseUntil }));
  return { prefix, count, fields, indexes };
}

/** One namespace with its Recovery. `crash` leaves 100 orphans behind: half of them by proof, half by lease. */
export class Case {
  #round = 0;

  constructor(storage, namespace) {
    this.storage = storage;
    this.partition = `${namespace}:0`;
    this.recovery = createRecovery({ storage, namespace });
    this.recovery.withRecovery(async () => {}, { name: NAME });
  }

  async open() {
    // Signs on, and makes the tables.
    await (
      await this.recovery.recover()
    ).finished;
    const { entries } = await this.storage.range(this.partition, 'workers', { limit: 1 });
    const { records } = await this.storage.read(this.partition, [`w:${entries[0].id}`]);
    const { token, ...identity } = Object.fromEntries(records[0]);
    if (token === undefined) throw new Error('No worker.');
    this.identity = identity;
    const key = 'bench-names';
    await this.#commit([{ key, fields: { key }, index: [{ index: 'names', id: NAME, score: 0 }] }]);
  }

  async worker(id, change) {
    await this.#commit([
      {
        key: `w:${id}`,
        fields: { ...this.identity, ...change },
        index: [{ index: 'workers', id, score: Date.now() + HOUR }],
      },
    ]);
  }

  async crash() {
    this.#round += 1;
    const owner = `dead-${this.#round}`;
    await this.worker(owner, { startTime: '1' });
    const tasks = Array.from({ length: ORPHANS }, (_, i) => {
      const byLease = i % 2 === 0;
      const id = `orphan-${this.#round}-${i}`;
      const score = Date.now() + (byLease ? -1_000 : HOUR);
      const fields = head('processing', byLease ? 'elsewhere' : owner, score);
      const held = { index: `held:${fields.owner}`, id, score };
      return { key: `h:${id}`, fields, index: [{ index: `processing:${NAME}`, id, score }, held] };
    });
    await this.#commit(tasks);
  }

  async #commit(records) {
    const batches = records.map(({ key, fields, index }) => ({
      guard: { key, expect: null, next: TOKEN },
      notAfter: Date.now() + HOUR,
      set: [{ key, fields }],
      index,
    }));
    const { outcomes } = await this.storage.commit(this.partition, batches);
    if (outcomes.some(({ status }) => status !== 'applied')) throw new Error('An orphan was not written.');
  }

  /** Times one recovery of 100 fresh orphans: the plan alone, and then all of it. */
  async recover(plans) {
    await this.crash();
    const start = performance.now();
    const plan = await this.recovery.planRecovery();
    const planned = performance.now();
    const report = await (await this.recovery.recover()).finished;
    const taken = performance.now() - planned;
    plans.push(planned - start);
    const completed = report.tasks.filter(({ outcome }) => outcome === 'completed').length;
    if (plan.length !== ORPHANS || completed !== ORPHANS) {
      throw new Error(`${plan.length} planned and ${completed} completed, not ${ORPHANS}.`);
    }
    return taken;
  }
}

async function compare(name, open, million, quick) {
  const few = await open('few');
  const many = await open('many');
  const busy = await open('busy');
  await few.load(few.test.partition, finished('done-', 1_000));
  await many.load(many.test.partition, finished('done-', million));
  for (let owner = 0; owner < 10; owner += 1) {
    await busy.test.worker(`other-${owner}`, { host: 'another machine' });
    await busy.load(busy.test.partition, running(`run-${owner}-`, 1_000, `other-${owner}`));
  }
  const { completed } = await many.test.recovery.tasks.counts();
  if (completed !== million) throw new Error(`${completed} finished tasks, not ${million}.`);
  if ((await many.test.recovery.tasks.get('done-0000007'))?.status !== 'completed')
    throw new Error('No head.');
  const plans = { few: [], many: [], busy: [] };
  const all = await rounds(quick ? 5 : 11, {
    few: () => few.test.recover(plans.few),
    many: () => many.test.recover(plans.many),
    busy: () => busy.test.recover(plans.busy),
  });
  for (const { test } of [few, many, busy]) await test.recovery.shutdown();
  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  const text = (values) => `${median(values.slice(1)).toFixed(1)} ms to plan`;
  const base = `${show(all.few, 1, ' ms')}, ${text(plans.few)}`;
  const line = (what, found, own) => ({
    ...row(
      `${name}: ${ORPHANS} orphans among ${what}`,
      `${show(found, 1, ' ms')}, ${text(own)}`,
      base,
      found.median / all.few.median,
      { most: 1.5 },
    ),
    note: 'the floor is the same among 1,000 finished tasks',
  });
  return [
    line(`${million.toLocaleString('en')} finished`, all.many, plans.many),
    line('10,000 running elsewhere', all.busy, plans.busy),
  ];
}

async function onRedis(million, quick) {
  const redis = await startRedis();
  try {
    const client = redis.connect();
    const load = redisLoader(client);
    const open = async (name) => {
      const test = new Case(redisStorage(client), name);
      await test.open();
      return { test, load };
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
    const open = async (name) => {
      const path = join(folder.path, `${name}.db`);
      const test = new Case(sqliteStorage(path), name);
      await test.open();
      const db = openSqlite(path);
      opened.push(db);
      return { test, load: sqliteLoader(db) };
    };
    return await compare('SQLite', open, million, quick);
  } finally {
    for (const db of opened) db.close();
    folder.remove();
  }
}

export async function discovery({ quick }) {
  const million = quick ? 100_000 : 1_000_000;
  return [...(await onRedis(million, quick)), ...(await onSqlite(million, quick))];
}
