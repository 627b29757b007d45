/** What a run of document recovery costs, and the figures about failures, however many others are not due yet. */
import { join } from 'node:path';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { sqliteStorage } from '../dist/sqlite.js';
import { openSqlite, rounds, row, show, startRedis, tempFolder } from './harness.mjs';
import { redisLoader, sqliteLoader } from './loaders.mjs';

const DUE = 100;
const FEW = 1_000;
const MANY = 100_000;
const NAME = 'bench';
const HOUR = 3_600_000;
const CALLS = 10;

const FINGERPRINTS = Array.from({ length: 20 }, (_, n) => `fingerprint-${n}`);
/** Retries and waves, as the library names them. */
const PLACES = Array.from({ length: 25 }, (_, n) => `${Math.floor(n / 5)}:${n % 5}`);
/** Due at once, so that what is reported is due; the others have their last attempt in the time to come. */
const RULE = { maxRetries: 10, minRetryIntervalMs: 1, maxRetryIntervalMs: 1 };

/** One namespace with its Recovery. */
class Case {
  #made = 0;

  constructor(storage, namespace, load) {
    this.storage = storage;
    this.load = load;
    this.partition = `${namespace}:0`;
    this.recovery = createRecovery({ storage, namespace, documents: RULE });
    this.recovery.withRecovery(async () => {}, { name: NAME });
  }

  async fail(count) {
    const report = (n) => {
      const error = Object.assign(new Error(`no tax rate for order ${n}`), { code: 'ETAX' });
      return this.recovery.failures.record({ name: NAME, documentPath: `/in/${n}.pdf`, error });
    };
    const all = await Promise.all(Array.from({ length: count }, (_, n) => report(this.#made + n)));
    this.#made += count;
    return all;
  }

  /** Heads as the library has written one, with the index entries that go with them. */
  async others(count) {
    const [id] = await this.fail(1);
    const { records } = await this.storage.read(this.partition, [`h:${id}`]);
    const fields = Object.fromEntries(records[0]);
    const failure = JSON.parse(fields.failure);
    const { category, worker } = failure;
    const later = Date.now() + 24 * HOUR;
    const each = count / (FINGERPRINTS.length * PLACES.length);
    for (const [nth, fingerprint] of FINGERPRINTS.entries()) {
      const failedAt = Date.now() - (nth + 1) * 2 * HOUR;
      const known = ['failures', 'failures:open', `failures:fingerprint:${fingerprint}`];
      const facets = [`failures:category:${category}`, `failures:worker:${worker}`];
      for (const place of PLACES) {
        const retryCount = Number(place.split(':')[0]);
        const head = {
          ...fields,
          failedAt: String(failedAt),
          failure: JSON.stringify({ ...failure, fingerprint, retryCount, attempts: retryCount }),
        };
        const indexes = [...known, ...facets].map((index) => ({ index, score: failedAt }));
        indexes.push(
          { index: `failed:${NAME}`, score: failedAt },
          { index: `failures:retry:${place}`, score: later },
        );
        await this.load(this.partition, {
          prefix: `${fingerprint}-${place}-`,
          count: each,
          fields: head,
          indexes,
        });
      }
    }
    const known = (index, id) => ({ index, id, score: Date.now() });
    const entries = FINGERPRINTS.map((id) => known('failures:fingerprints', id));
    entries.push(...PLACES.map((id) => known('failures:retries', id)));
    const guard = { key: 'bench-known', expect: null, next: '1.nonce.0' };
    const batch = { guard, notAfter: Date.now() + HOUR, set: [], index: entries };
    const { outcomes } = await this.storage.commit(this.partition, [batch]);
    if (outcomes[0].status !== 'applied') throw new Error('What is known was not written.');
    await this.recovery.documents.recover();
    const { total, categories } = await this.recovery.documents.analyze();
    if (total !== count || categories[category] !== count)
      throw new Error(`${total} failures, not ${count}.`);
  }

  /** Times one run with 100 fresh failures that are due. */
  async recover() {
    await this.fail(DUE);
    for (;;) {
      const { documents_eligible_for_retry: due } = await this.recovery.documents.getStatus();
      if (due === DUE) break;
    }
    const start = performance.now();
    const { attempted, succeeded } = await this.recovery.documents.recover();
    const taken = performance.now() - start;
    if (attempted !== DUE || succeeded !== DUE) throw new Error(`${attempted} tried, ${succeeded} done.`);
    return taken;
  }

  /** The mean time of a call, in ms. */
  async time(call) {
    const start = performance.now();
    for (let n = 0; n < CALLS; n += 1) await call();
    return (performance.now() - start) / CALLS;
  }

  status() {
    return this.time(() => this.recovery.documents.getStatus());
  }

  analysis() {
    return this.time(() => this.recovery.documents.analyze());
  }
}

async function compare(name, open, quick, counted) {
  const few = await open('few');
  const many = await open('many');
  await few.others(FEW);
  await many.others(MANY);
  const line = async (what, measure, target, note = '') => {
    const found = await rounds(quick ? 5 : 15, { few: () => few[measure](), many: () => many[measure]() });
    const ratio = found.many.median / found.few.median;
    const text = `${name}: ${what} among ${MANY.toLocaleString('en')} failures`;
    return {
      ...row(text, show(found.many, 2, ' ms'), show(found.few, 2, ' ms'), ratio, { most: 1.5 }),
      ...target,
      note: `the floor is the same among ${FEW.toLocaleString('en')}${note}`,
    };
  };
  const lines = [
    await line(`${DUE} documents that are due`, 'recover'),
    await line('getStatus()', 'status', counted.target, counted.note),
    await line('analyze()', 'analysis', counted.target, counted.note),
  ];
  for (const each of [few, many]) await each.recovery.shutdown();
  return lines;
}

async function onRedis(quick) {
  const redis = await startRedis();
  try {
    const client = redis.connect();
    const load = redisLoader(client);
    return await compare('Redis', async (name) => new Case(redisStorage(client), name, load), quick, {});
  } finally {
    await redis.stop();
  }
}

async function onSqlite(quick) {
  const folder = tempFolder();
  const opened = [];
  try {
    const open = async (name) => {
      const path = join(folder.path, `${name}.db`);
      const storage = sqliteStorage(path);
      // It makes the tables.
      await storage.read(name, []);
      const db = openSqlite(path);
      opened.push(db);
      return new Case(storage, name, sqliteLoader(db));
    };
    // Redis knows how many entries an index has; SQLite goes through them, at some 60 ns each.
    const counted = {
      target: { target: null, met: null },
      note: '; SQLite counts entries one by one: no target',
    };
    return await compare('SQLite', open, quick, counted);
  } finally {
    for (const db of opened) db.close();
    folder.remove();
  }
}

export async function documents({ quick }) {
  return [...(await onRedis(quick)), ...(await onSqlite(quick))];
}
