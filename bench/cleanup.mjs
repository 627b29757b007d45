/** How long clean-up holds the storage up, and how fast it is. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { sqliteStorage } from '../dist/sqlite.js';
import { Redis } from 'ioredis';
import { openSqlite, row, show, startRedis, summary, tempFolder } from './harness.mjs';
import { redisCopier, sqliteCopier } from './loaders.mjs';

const HOUR = 3_600_000;
const CHILD = fileURLToPath(import.meta.url);
const LONG = 'x'.repeat(2_000);

const numbers = (count) => Array.from({ length: count }, (_, index) => index);

/** Kinds of tasks, and how many of each are removed. */
const KINDS = {
  plain: { count: 100_000, what: 'tasks', body: async () => {} },
  rich: {
    count: 10_000,
    what: 'tasks, each with 10 steps, a map of 50 items, 3 checkpoints, long input and result',
    body: async (ctx) => {
      for (const n of numbers(10)) await ctx.step(`step-${n}`, async () => (n % 2 === 0 ? LONG : n));
      await ctx.map('items', numbers(50), async (n) => n, { key: String });
      for (const n of numbers(3))
        await ctx.createCheckpoint({ name: `at-${n}`, progressPercent: n, recoverableData: LONG });
      return LONG;
    },
  },
  steps: {
    count: 50,
    what: 'tasks, each with 10,000 steps (no task has more)',
    body: async (ctx) => {
      for (const n of numbers(100))
        await Promise.all(numbers(100).map((i) => ctx.step(`step-${n * 100 + i}`, async () => n)));
    },
  },
  items: {
    count: 50,
    what: 'tasks, each with a map of 10,000 items',
    body: async (ctx) => {
      await ctx.map('items', numbers(10_000), async (n) => n, { key: String, concurrency: 100 });
    },
  },
};

/** One namespace; its tasks are copies of one that was run. */
class Case {
  #round = 0;

  constructor(storage, copy) {
    this.recovery = createRecovery({
      storage,
      namespace: 'clean',
      retention: { completedMs: HOUR, countersMs: 400 * 24 * HOUR },
    });
    this.copy = copy;
    this.tasks = Object.fromEntries(
      Object.entries(KINDS).map(([kind, { body }]) => [
        kind,
        this.recovery.withRecovery(async (ctx, _input) => body(ctx), { name: kind, taskId: () => kind }),
      ]),
    );
  }

  async fill(kind, count) {
    await this.tasks[kind](kind === 'rich' ? LONG : '');
    const place = { index: `completed:${kind}`, score: Date.now() - 2 * HOUR };
    this.#round += 1;
    await this.copy('clean:0', { template: kind, prefix: `${this.#round}-`, count, ...place });
  }

  /** Removes them; how many a second. */
  async clean(count) {
    const start = performance.now();
    const { completed, more } = await this.recovery.cleanup();
    const seconds = (performance.now() - start) / 1_000;
    if (completed !== count || more) throw new Error(`${completed} tasks were removed, not ${count}.`);
    return count / seconds;
  }
}

function line(name, { what }, count, found, floor, target, note) {
  const measure = `${name}: clean-up of ${count.toLocaleString('en')} ${what}`;
  const longest = summary(found.map((each) => each.longest));
  const speed = summary(found.map((each) => each.speed));
  return {
    ...row(measure, show(longest, 2, ' ms'), floor, longest.median, { most: 10 }),
    ...target,
    note: `${note}; ${show(speed)} tasks/s`,
  };
}

/** Asks the server all the time, in a process of its own. Returns the longest time without an answer so far, in ms. */
async function startPings(port) {
  const child = fork(CHILD, [String(port)]);
  await once(child, 'message');
  return {
    async longest() {
      child.send('longest');
      const [found] = await once(child, 'message');
      return found;
    },
    stop: () => child.disconnect(),
  };
}

async function ping(port) {
  const client = new Redis({ port });
  client.on('error', () => {});
  let longest = 0;
  process.on('message', () => {
    process.send(longest);
    longest = 0;
  });
  process.on('disconnect', () => process.exit());
  await client.ping();
  process.send('ready');
  for (;;) {
    const start = performance.now();
    await client.ping();
    longest = Math.max(longest, performance.now() - start);
    await delay(1);
  }
}

/**
 * How long the server has worked on one script, in ms: at the most, by SLOWLOG, and usually. By the wall clock: what it
 * waits for a processor counts.
 */
async function callTimes(client) {
  const commands = await client.slowlog('GET', -1);
  const calls = commands.filter(([, , , [command]]) => command.toLowerCase() === 'evalsha');
  const text = await client.info('latencystats');
  const percentile = (p) => Number(new RegExp(`_evalsha:.*p${p}=([0-9.]+)`).exec(text)?.[1]) / 1_000;
  return {
    longest: Math.max(0, ...calls.map(([, , microseconds]) => microseconds / 1_000)),
    p50: percentile('50'),
    p999: percentile('99.9'),
  };
}

async function onRedis(quick) {
  const redis = await startRedis();
  const pings = await startPings(redis.port);
  try {
    const client = redis.connect();
    await client.config('SET', 'slowlog-log-slower-than', '100', 'slowlog-max-len', '1000000');
    const test = new Case(redisStorage(redis.connect()), redisCopier(client));
    const lines = [];
    for (const [kind, about] of Object.entries(KINDS)) {
      const count = quick ? Math.ceil(about.count / 5) : about.count;
      const found = [];
      for (let round = 0; round < (quick ? 2 : 5); round += 1) {
        await test.fill(kind, count);
        await pings.longest();
        await delay(1_000);
        const idle = await pings.longest();
        await client.slowlog('RESET');
        await client.config('RESETSTAT');
        const speed = await test.clean(count);
        found.push({ speed, idle, busy: await pings.longest(), ...(await callTimes(client)) });
      }
      const of = (figure) => summary(found.map((each) => each[figure]));
      const ms = (figure) => `${of(figure).median.toFixed(2)} ms`;
      const note =
        `the ratio is the longest call in ms, by SLOWLOG; half of the calls within ${ms('p50')}, 99.9 % within ${ms('p999')}; ` +
        `longest ping meanwhile ${show(of('busy'), 1, ' ms')}`;
      const idle = show(of('idle'), 1, ' ms');
      lines.push(line('Redis', about, count, found, `longest ping without: ${idle}`, {}, note));
    }
    await test.recovery.shutdown();
    return lines;
  } finally {
    pings.stop();
    await redis.stop();
  }
}

/** The event loop's longest block while `work` goes on, in ms. */
async function longestBlock(work) {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  const result = await work();
  // A last sample, for a block at the end.
  await delay(20);
  histogram.disable();
  return { result, longest: histogram.max / 1e6 };
}

async function onSqlite(quick) {
  const folder = tempFolder();
  try {
    const path = join(folder.path, 'clean.db');
    const storage = sqliteStorage(path);
    await storage.read('clean', []);
    const db = openSqlite(path);
    const test = new Case(storage, sqliteCopier(db));
    const lines = [];
    for (const [kind, about] of Object.entries(KINDS)) {
      const count = Math.ceil(about.count / (quick ? 50 : 10));
      const found = [];
      for (let round = 0; round < (quick ? 2 : 5); round += 1) {
        await test.fill(kind, count);
        const { longest: idle } = await longestBlock(() => delay(1_000));
        const { result: speed, longest } = await longestBlock(() => test.clean(count));
        found.push({ speed, idle, longest });
      }
      const idle = show(summary(found.map((each) => each.idle)), 1, ' ms');
      const note = "the ratio is the event loop's longest block in ms; there is no target";
      lines.push(line('SQLite', about, count, found, `${idle} without`, { target: null, met: null }, note));
    }
    await test.recovery.shutdown();
    db.close();
    return lines;
  } finally {
    folder.remove();
  }
}

export async function cleanup({ quick }) {
  return [...(await onRedis(quick)), ...(await onSqlite(quick))];
}

if (process.argv[1] === CHILD) await ping(Number(process.argv[2]));
