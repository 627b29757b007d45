/**
 * Shows what a kill -9 costs: runs a worker over real files, kills it about a third through, starts it again, and
 * checks from what the worker left behind that no document was lost and how many were begun twice.
 *
 *   npm run demo                     on SQLite, over the Markdown files under node_modules
 *   npm run demo -- my/folder        over the files of a folder
 *   npm run demo -- --redis          on a Redis of its own
 */
import { fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findDocuments } from './documents.mjs';
import { judge, readLog } from './evidence.mjs';
import { startRedis } from './redis.mjs';
import { showProgress } from './screen.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const USAGE = 'Usage: npm run demo -- [--redis] [folder]';

/** What has to be undone, latest first; also after Ctrl-C. */
const undo = [];
let stopping = false;
async function cleanUp() {
  for (let next = undo.pop(); next !== undefined; next = undo.pop()) await next();
}
for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  process.once(signal, () => {
    stopping = true;
    void cleanUp().finally(() => process.exit(code));
  });
}

function readArguments() {
  try {
    const options = { redis: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } };
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length > 1) throw new Error('One folder at most.');
    return { redis: values.redis === true, help: values.help === true, folder: positionals[0] };
  } catch (error) {
    throw new Error(`${error.message}\n${USAGE}`, { cause: error });
  }
}

/** Starts a worker; `onMessage` gets its messages and may kill it. Resolves when the process is gone. */
function runWorker(jobFile, onMessage) {
  if (stopping) throw new Error('Stopped.');
  const spawnedAtMs = Date.now();
  const child = fork(join(HERE, 'worker.mjs'), [jobFile], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  // 'close' comes after the last message, 'exit' may not.
  const gone = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (stopping) reject(new Error('Stopped.'));
      else resolve({ code, signal });
    });
  });
  undo.push(async () => {
    child.kill('SIGKILL');
    await gone.catch(() => {});
  });
  child.on('message', (message) => onMessage(message, child));
  return { pid: child.pid, spawnedAtMs, gone };
}

async function firstRun(job, write) {
  const total = job.documents.length;
  const screen = showProgress([{ label: 'first worker', total }]);
  undo.push(() => screen.stop());
  const done = new Set();
  const failed = new Map();
  const worker = runWorker(write({ ...job, run: 1 }), ({ type, id, message }, child) => {
    if (type === 'done') done.add(id);
    if (type === 'failed') failed.set(id, message);
    screen.update(0, done.size, `pid ${child.pid}`);
    if (type === 'checkpoint' && done.size >= Math.floor(total / 3)) child.kill('SIGKILL');
  });
  const { code, signal } = await worker.gone;
  screen.stop();
  if (signal !== 'SIGKILL' && code !== 0) throw new Error(`The worker ended with exit code ${code}.`);
  return { ...worker, killed: signal === 'SIGKILL', failed };
}

async function secondRun(job, write, inHand) {
  const total = job.documents.length;
  const screen = showProgress([
    { label: 'taken back', total: Math.max(1, inHand.size) },
    { label: 'second worker', total },
  ]);
  undo.push(() => screen.stop());
  const done = new Set();
  const failed = new Map();
  let ended = null;
  const worker = runWorker(write({ ...job, run: 2 }), (message, child) => {
    if (message.type === 'done') done.add(message.id);
    if (message.type === 'failed') failed.set(message.id, message.message);
    if (message.type === 'ended') ended = message;
    screen.update(0, [...inHand].filter((id) => done.has(id)).length, 'that the first one had in hand');
    screen.update(1, done.size, `pid ${child.pid}`);
  });
  const { code, signal } = await worker.gone;
  screen.stop();
  if (ended === null) throw new Error(`The second worker ended early: exit code ${code}, signal ${signal}.`);
  return { ...worker, ended, failed };
}

async function openStorage(redis, folder) {
  if (!redis) return { kind: 'sqlite', file: join(folder, 'recovery.db') };
  const data = join(folder, 'redis');
  mkdirSync(data);
  const server = await startRedis(data);
  undo.push(server.stop);
  console.log(`redis-server  pid ${server.pid} on port ${server.port}`);
  return { kind: 'redis', port: server.port };
}

function print(verdict, runs) {
  const row = (label, value) => console.log(`  ${label.padEnd(46)}${value}`);
  const { total, inHand, resumed, restarted, startedTwice, stagesTwice, stages, lost } = verdict;
  console.log('\nResult');
  row('documents in hand when it was killed', inHand.size);
  row('first one going again, from start of process', `${verdict.firstAgainMs ?? '-'} ms`);
  row('all of them going again', `${verdict.allAgainMs ?? '-'} ms`);
  row('  resumed from a checkpoint', resumed);
  row('  begun anew, killed before a checkpoint', restarted);
  row('documents begun twice', `${startedTwice} (of ${inHand.size} in hand)`);
  row('stages run twice', `${stagesTwice} (of ${stages})`);
  row('documents completed, says the storage', `${runs.second.ended.completed} of ${total}`);
  row('documents lost', `${lost.length} of ${total}`);
  for (const [id, message] of [...runs.second.failed].slice(0, 3)) console.log(`  failed: ${id}: ${message}`);
}

async function main() {
  const { redis, help, folder } = readArguments();
  if (help) return console.log(USAGE);
  const { documents, found } = await findDocuments(
    folder ?? join(HERE, '../../node_modules'),
    folder === undefined,
  );
  const place = mkdtempSync(join(tmpdir(), 'rekindle-demo-'));
  undo.push(() => rmSync(place, { recursive: true, force: true, maxRetries: 5 }));
  const output = join(place, 'summaries');
  mkdirSync(output);
  const log = join(place, 'log');
  writeFileSync(log, '');
  const of = found > documents.length ? ` (the first of ${found})` : '';
  console.log(`documents     ${documents.length}${of} under ${folder ?? 'node_modules'}, 10 at a time`);
  const storage = await openStorage(redis, place);
  console.log(`storage       ${redis ? 'Redis' : 'SQLite'}\n`);

  const jobFile = join(place, 'job.json');
  const write = (job) => {
    writeFileSync(jobFile, JSON.stringify(job));
    return jobFile;
  };
  const job = { storage, documents, output, log };
  const first = await firstRun(job, write);
  const half = readLog(readFileSync(log, 'utf8'));
  console.log(
    first.killed
      ? `  kill -9 ${first.pid}: ${half.done.size} done, ${half.inHand.size} in hand; started again at once`
      : '  It was done before it could be killed; started again all the same.',
  );
  const second = await secondRun(job, write, half.inHand);
  const verdict = judge({ documents, output, spawnedAtMs: second.spawnedAtMs }, readFileSync(log, 'utf8'));
  print(verdict, { first, second });
  const complete = second.ended.completed === documents.length && verdict.lost.length === 0;
  if (!complete || verdict.startedTwice > verdict.inHand.size) {
    console.log('\nThis is not what rekindle promises.');
    process.exitCode = 1;
  }
}

try {
  await main();
} catch (error) {
  if (!stopping) console.error(error.message);
  process.exitCode = 1;
} finally {
  await cleanUp();
}
