/**
 * W3: kill -9 with 200 tasks in flight, restarted at once; real processes, with a journal that outlives them. All times
 * are in ms from the spawn of the second process.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { redisStorage } from '../dist/redis.js';
import { row, show, startRedis, summary, tempFolder, turns } from './harness.mjs';
import { startPostgres } from './postgres.mjs';
import { messageOf, startNode } from './processes.mjs';
import { table } from './table.mjs';

const TASKS = 200;
const STEPS = 10;
const STEP_MS = 20;
const REDIS = 'Redis AOF everysec';
const POSTGRES = 'Postgres, synchronous_commit on';
const OTHER_HOST = { execArgv: ['--import', new URL('workers/other-host.mjs', import.meta.url).href] };
const FAST = { lockDuration: 1_000, stalledInterval: 500 };
const LEASE_MS = 2_000;

/** `slow`: it waits for a lease or a check of half a minute, so one round of it must do. */
const SYSTEMS = {
  floor: {
    name: 'floor: bare ioredis',
    file: 'floor',
    store: REDIS,
    asked:
      'one EVALSHA a step (fence, HSET 3, ZADD); the new process takes over whatever the index has, at once',
  },
  redis: {
    name: 'rekindle, Redis',
    file: 'rekindle',
    store: REDIS,
    asked: '`ctx.step`, `runStartupRecovery()`, defaults but for `concurrency: 200`; same machine',
  },
  sqlite: {
    name: 'rekindle, SQLite',
    file: 'rekindle',
    store: 'SQLite WAL FULL',
    asked: 'the same on a file',
  },
  jobs: {
    name: 'rekindle/bullmq',
    file: 'bullmq',
    store: REDIS,
    given: { recoverable: true },
    asked: 'BullMQ jobs through `recoverableProcessor`, BullMQ with its defaults',
  },
  fast: {
    name: 'BullMQ, lock 1 s, stalled check 0.5 s',
    file: 'bullmq',
    store: REDIS,
    given: { options: FAST },
    asked: 'updateData and updateProgress after each step, go on from `job.data.step`',
  },
  dbos: {
    name: 'DBOS',
    file: 'dbos',
    store: POSTGRES,
    asked: '`runStep`; same executor id, which recovers at launch',
  },
  bullmq: {
    name: 'BullMQ, defaults',
    file: 'bullmq',
    store: REDIS,
    slow: true,
    asked: 'as above; lock 30 s, stalled check every 30 s',
  },
  openworkflow: {
    name: 'OpenWorkflow',
    file: 'openworkflow',
    store: POSTGRES,
    slow: true,
    asked: '`step.run`; its lease is 30 s',
  },
  elsewhere: {
    name: `rekindle, Redis, on another host, lease ${LEASE_MS / 1_000} s`,
    file: 'rekindle',
    store: REDIS,
    given: { leaseMs: LEASE_MS },
    second: OTHER_HOST,
    asked: 'the death can not be proven, so the lease must run out; the default is 15 s',
  },
};

function journalOf(path) {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' '))
    .map(([what, pid, at, id, step]) => ({ what, pid: Number(pid), at: Number(at), id, step: Number(step) }));
}

function twice(notes, what) {
  const all = notes.filter((note) => note.what === what).map(({ id, step }) => `${id} ${step}`);
  if (what === 'end' && new Set(all).size !== TASKS * STEPS) throw new Error('A step was left out.');
  return all.length - new Set(all).size;
}

/** When the leases of all tasks end, by the storage, right after the kill. */
async function leasesOf(redis, name) {
  const { entries } = await redisStorage(redis.connect()).range(`${name}:0`, 'processing:bench', {
    limit: TASKS,
  });
  if (entries.length !== TASKS) throw new Error(`${entries.length} leases, not ${TASKS}.`);
  return new Map(entries.map(({ id, score }) => [id, score]));
}

/**
 * One kill and one restart. The kill comes when half of the bodies are through and `phaseMs` later: all tasks are in
 * step, so its moment in the step of 20 ms decides how many commits are under way.
 */
async function kill({ file, given, second }, place, { name, phaseMs, leases }) {
  const journal = join(place.folder, `${name}.log`);
  const config = { ...place, ...given, name, journal };
  const start = (restart, options) =>
    startNode(`workers/${file}.mjs`, [JSON.stringify({ ...config, restart })], options);
  const first = start(false);
  await messageOf(first, (message) => message === 'half', 60_000, `${file}, first process`);
  await delay(phaseMs);
  await first.kill9();
  const ends = leases && (await leases());
  const spawned = performance.timeOrigin + performance.now();
  const other = start(true, second);
  try {
    await messageOf(other, (message) => message === 'all', 180_000, `${file}, restarted`);
  } finally {
    await other.kill9();
  }
  const notes = journalOf(journal);
  const inFlight = notes.filter(({ what, pid }) => what === 'enter' && pid === first.child.pid).length;
  if (inFlight !== TASKS) throw new Error(`${inFlight} tasks were in flight, not ${TASKS}.`);
  const mine = notes.filter(({ pid }) => pid === other.child.pid);
  const times = (what) => mine.filter((note) => note.what === what).map(({ at }) => at - spawned);
  const late = ends && mine.filter(({ what }) => what === 'enter').map(({ id, at }) => at - ends.get(id));
  return {
    first: Math.min(...times('begin')),
    all: Math.max(...times('done')),
    begun: twice(notes, 'begin'),
    ended: twice(notes, 'end'),
    late: late && Math.max(...late),
  };
}

/** Contenders for `turns`, each with a name of its own each time. */
function contendersOf(names, places, phases) {
  let count = 0;
  return Object.fromEntries(
    names.map((name) => {
      const system = SYSTEMS[name];
      const place = places[system.store];
      let round = 0;
      const run = async () => {
        const own = `${name}-${(count += 1)}`;
        const leases = name === 'elsewhere' ? () => leasesOf(places.redis, own) : undefined;
        const phaseMs = (STEP_MS * (round % phases)) / phases;
        round += 1;
        return kill(system, place, { name: own, phaseMs, leases });
      };
      return [name, run];
    }),
  );
}

const COLUMNS = [
  { key: 'first', name: 'first task resumes, ms', ratio: true },
  { key: 'all', name: 'all 200 done, ms', ratio: true },
  { key: 'begun', name: 'steps begun twice' },
  { key: 'ended', name: 'bodies completed twice' },
];

function tableOf(found) {
  const lines = Object.entries(found).map(([name, runs]) => {
    const { name: system, store, asked } = SYSTEMS[name];
    const values = Object.fromEntries(COLUMNS.map(({ key }) => [key, summary(runs.map((run) => run[key]))]));
    return {
      system,
      store,
      asked,
      rounds: runs.length,
      values,
      floor: name === 'floor' ? null : 'floor: bare ioredis',
    };
  });
  const title =
    'W3: kill -9 with 200 tasks in flight (10 steps of 20 ms), restarted at once; ms from the spawn';
  return table('w3', title, COLUMNS, lines);
}

function targetsOf(found) {
  const of = (name, key) => summary(found[name].map((run) => run[key]));
  const ratio = (key) => of('redis', key).median / of('floor', key).median;
  const line = (what, key, most) =>
    row(`W3, Redis: ms to ${what}`, show(of('redis', key)), show(of('floor', key)), ratio(key), { most });
  const late = of('elsewhere', 'late');
  const resumed = of('jobs', 'first');
  const ended = of('redis', 'ended');
  return [
    line('the first task resumed', 'first', 1.4),
    line('all 200 done', 'all', 1.5),
    row('W3, Redis: bodies completed twice', show(ended), `${TASKS * STEPS} steps`, ended.median, {
      most: 0,
    }),
    {
      ...row('W3, another host: ms beyond its lease, last of 200', show(late), 'lease', late.median, {
        most: 300,
      }),
      note: 'the ratio is the time in ms',
    },
    {
      ...row('W3, rekindle/bullmq: ms to the first task resumed', show(resumed), '-', resumed.median, {
        most: 1_000,
      }),
      note: 'the ratio is the time in ms',
    },
  ];
}

export async function recovery({ quick, only }) {
  const redis = await startRedis();
  const postgres = only === undefined || only.includes('dbos') ? await startPostgres() : null;
  const folder = tempFolder();
  try {
    const places = {
      redis,
      [REDIS]: { port: redis.port, folder: folder.path },
      [POSTGRES]: { url: postgres?.url, folder: folder.path },
      'SQLite WAL FULL': { folder: folder.path },
    };
    const there = Object.keys(SYSTEMS)
      .filter((name) => only?.includes(name) ?? true)
      .filter((name) => postgres !== null || SYSTEMS[name].store !== POSTGRES);
    const count = quick ? 3 : 5;
    const quickOnes = there.filter((name) => !SYSTEMS[name].slow);
    const found = await turns(count, contendersOf(quickOnes, places, count));
    if (!quick) {
      // They mostly wait, so they wait together.
      const slowOnes = there.filter((name) => SYSTEMS[name].slow);
      const slow = contendersOf(slowOnes, places, 1);
      await Promise.all(Object.entries(slow).map(async ([name, run]) => (found[name] = [await run()])));
    }
    const ordered = Object.fromEntries(
      there.filter((name) => name in found).map((name) => [name, found[name]]),
    );
    return { rows: targetsOf(ordered), table: tableOf(ordered) };
  } finally {
    await postgres?.stop();
    await redis.stop();
    folder.remove();
  }
}
