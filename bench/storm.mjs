/** 100,000 orphans taken up by one process: how fast, and in how much memory. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { sqliteStorage } from '../dist/sqlite.js';
import { openSqlite, row, startRedis, tempFolder } from './harness.mjs';
import { redisLoader, sqliteLoader } from './loaders.mjs';

const NAME = 'storm';
const NAMESPACE = 'storm';
const PARTITION = `${NAMESPACE}:0`;
const CHILD = fileURLToPath(import.meta.url);
/** What a process is given for its old objects, in MiB: Node's own default is a few thousand. */
const OLD_SPACE_MIB = 48;

/** Tasks whose leases ran out a minute ago, of a worker on another machine that said goodbye to nobody. */
function orphans(count) {
  const overAt = Date.now() - 60_000;
  const owner = 'gone';
  const fields = {
    token: '1.nonce.0',
    status: 'processing',
    name: NAME,
    priority: '0',
    owner,
    leaseUntil: String(overAt),
    attempt: '1',
    createdAt: String(overAt - 60_000),
    eventSeq: '2',
    input: '[]',
  };
  const indexes = [`processing:${NAME}`, `held:${owner}`].map((index) => ({ index, score: overAt }));
  return { prefix: 'orphan-', count, fields, indexes };
}

function recoveryOf(storage) {
  const recovery = createRecovery({ storage, namespace: NAMESPACE, concurrency: 100 });
  recovery.withRecovery(async () => {}, { name: NAME });
  return recovery;
}

async function measure(kind, place) {
  const client = kind === 'redis' ? new Redis({ port: Number(place) }) : null;
  const recovery = recoveryOf(client === null ? sqliteStorage(place) : redisStorage(client));
  let peak = 0;
  const sample = () => (peak = Math.max(peak, process.memoryUsage().heapUsed));
  const timer = setInterval(sample, 20);
  const start = performance.now();
  let firstMs = 0;
  recovery.on('task_completed', () => (firstMs ||= performance.now() - start));
  const { finished } = await recovery.runStartupRecovery();
  const report = await finished;
  const allMs = performance.now() - start;
  clearInterval(timer);
  const { completed, orphaned, processing } = await recovery.tasks.counts(NAME);
  await recovery.shutdown();
  client?.disconnect();
  process.send({
    firstMs,
    allMs,
    peakMiB: peak / 2 ** 20,
    completed,
    left: orphaned + processing,
    recovered: report.recovered,
  });
}

async function run(kind, place, count) {
  const child = fork(CHILD, [kind, place], { execArgv: [`--max-old-space-size=${OLD_SPACE_MIB}`] });
  const gone = once(child, 'exit');
  const [result] = await Promise.race([
    once(child, 'message'),
    gone.then(([code]) => Promise.reject(new Error(`The process ended with ${code} before it was done.`))),
  ]);
  await gone;
  if (result.completed !== count || result.left !== 0)
    throw new Error(`${result.completed} completed and ${result.left} left, of ${count}.`);
  return result;
}

async function onRedis(count) {
  const redis = await startRedis();
  try {
    const client = redis.connect();
    const warm = recoveryOf(redisStorage(client));
    await (
      await warm.recover()
    ).finished;
    await redisLoader(client)(PARTITION, orphans(count));
    await warm.shutdown();
    return await run('redis', String(redis.port), count);
  } finally {
    await redis.stop();
  }
}

async function onSqlite(count) {
  const folder = tempFolder();
  try {
    const path = join(folder.path, 'storm.db');
    const warm = recoveryOf(sqliteStorage(path));
    await (
      await warm.recover()
    ).finished;
    const db = openSqlite(path);
    await sqliteLoader(db)(PARTITION, orphans(count));
    db.close();
    await warm.shutdown();
    return await run('sqlite', path, count);
  } finally {
    folder.remove();
  }
}

export async function storm({ quick }) {
  const many = quick ? 20_000 : 100_000;
  const few = many / 10;
  const lines = [];
  for (const [name, measureOn] of Object.entries({ Redis: onRedis, SQLite: onSqlite })) {
    const small = await measureOn(few);
    const large = await measureOn(many);
    const text = ({ firstMs, allMs, peakMiB }, count) =>
      `${peakMiB.toFixed(0)} MiB of heap at most, first after ${firstMs.toFixed(0)} ms, all after ${(allMs / 1_000).toFixed(1)} s (${Math.round(count / (allMs / 1_000)).toLocaleString('en')}/s)`;
    lines.push({
      ...row(
        `${name}: ${many.toLocaleString('en')} orphans, peak heap`,
        text(large, many),
        text(small, few),
        large.peakMiB / small.peakMiB,
        { most: 1.5 },
      ),
      note: `the floor is ${few.toLocaleString('en')} orphans; a process with --max-old-space-size=${OLD_SPACE_MIB}`,
    });
  }
  return lines;
}

if (process.argv[1] === CHILD) await measure(process.argv[2], process.argv[3]);
