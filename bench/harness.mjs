/** What all measures share: medians, rounds with turns, a Redis server of our own, temp folders. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import Libsql from 'libsql';

export const HOST = '127.0.0.1';
/** The durability of all that runs on Redis here: at most the last second may be lost. */
export const AOF = ['--appendonly', 'yes', '--appendfsync', 'everysec'];

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median of several rounds, with the lowest and the highest. */
export function summary(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Runs all contenders once a round, each round in another order, so that a slow spell of the machine hits all
 * alike. The first rounds only warm up. Returns what each of them gave, a list a contender. No garbage collection is
 * forced between turns: a full one throws optimised code away with the shapes it was made for, which no server does to
 * itself 30 times a run (measured: it costs the floor a tenth and rekindle a fifth).
 */
export async function turns(count, contenders, warmUp = 1) {
  const names = Object.keys(contenders);
  const values = new Map(names.map((name) => [name, []]));
  for (let round = 0; round < count + warmUp; round += 1) {
    const turn = round % names.length;
    for (const name of [...names.slice(turn), ...names.slice(0, turn)]) {
      const value = await contenders[name]();
      if (round >= warmUp) values.get(name).push(value);
    }
  }
  return Object.fromEntries(values);
}

/** `turns` of contenders that give a number: a summary a contender. */
export async function rounds(count, contenders) {
  const values = await turns(count, contenders);
  return Object.fromEntries(Object.entries(values).map(([name, list]) => [name, summary(list)]));
}

/** Runs `work` `times` times in each of `width` loops; returns how many were done a second. */
export async function throughput(width, times, work) {
  const start = performance.now();
  await Promise.all(
    Array.from({ length: width }, async (_, lane) => {
      for (let i = 0; i < times; i += 1) await work(lane, i);
    }),
  );
  return (width * times * 1000) / (performance.now() - start);
}

/** The median time of one call at a time, in ms. */
export async function latency(times, work) {
  const taken = [];
  for (let i = 0; i < times; i += 1) {
    const start = performance.now();
    await work(i);
    taken.push(performance.now() - start);
  }
  return median(taken);
}

/** One line of the table. `bound` is what the ratio is held against: at most, or at least. */
export function row(measure, ours, floor, ratio, bound) {
  const { most, least } = bound;
  if (most === undefined && least === undefined)
    return { measure, ours, floor, ratio, target: null, met: null };
  const target = most === undefined ? `at least ${least}` : `at most ${most}`;
  return { measure, ours, floor, ratio, target, met: most === undefined ? ratio >= least : ratio <= most };
}

export function show({ median: middle, min, max }, digits = 0, unit = '') {
  const text = (value) => value.toLocaleString('en', { maximumFractionDigits: digits });
  return `${text(middle)}${unit} (${text(min)}-${text(max)})`;
}

export function tempFolder() {
  const path = mkdtempSync(join(tmpdir(), 'rekindle-bench-'));
  const clear = () => rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  process.once('exit', clear);
  return {
    path,
    remove() {
      process.off('exit', clear);
      clear();
    },
  };
}

/** Opens a file with the driver that the library picks, too. */
export function openSqlite(path) {
  const Database = process.getBuiltinModule('node:sqlite')?.DatabaseSync ?? Libsql;
  return new Database(path);
}

export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, HOST, () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Starts a redis-server whose data is in a temp folder. `stop` kills this very process. */
export async function startRedis(extra = AOF) {
  const folder = tempFolder();
  const port = await freePort();
  const args = ['--port', String(port), '--bind', HOST, '--dir', folder.path, '--save', '', ...extra];
  const child = spawn('redis-server', args, { stdio: 'ignore' });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const clients = [];
  const connect = () => {
    const client = new Redis({ host: HOST, port, retryStrategy: () => 20 });
    client.on('error', () => {});
    clients.push(client);
    return client;
  };
  const failed = new Promise((_, reject) => child.once('error', reject));
  await Promise.race([
    connect().ping(),
    failed,
    delay(15_000, undefined, { ref: false }).then(() => Promise.reject(new Error('no Redis'))),
  ]);
  return {
    host: HOST,
    port,
    connect,
    async stop() {
      for (const client of clients) client.disconnect();
      kill();
      await gone;
      process.off('exit', kill);
      folder.remove();
    },
  };
}

/** Counts the commands that a client is given, by name. */
export function countCommands(client) {
  const counts = new Map();
  const send = client.sendCommand.bind(client);
  client.sendCommand = (command, ...rest) => {
    counts.set(command.name, (counts.get(command.name) ?? 0) + 1);
    return send(command, ...rest);
  };
  return {
    counts,
    get total() {
      return [...counts.values()].reduce((sum, count) => sum + count, 0);
    },
    text: () => [...counts].map(([name, count]) => `${count} ${name}`).join(', '),
    stop: () => delete client.sendCommand,
  };
}
