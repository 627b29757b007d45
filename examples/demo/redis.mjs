/** A redis-server of the demo's own: a free loopback port, data in a folder given, stopped by its pid. */
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';

const HOST = '127.0.0.1';
const MISSING = `The demo needs redis-server (7.0 or later) for --redis, and it is not on the PATH. Install it with one of
  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y redis-server
  Fedora:          sudo dnf install -y redis
  Alpine:          sudo apk add redis
  macOS:           brew install redis
or run the demo on SQLite, which needs nothing: npm run demo`;

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, HOST, () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Whether this very process answers: another program may have taken the port meanwhile. */
async function answers(port, pid) {
  const client = new Redis({
    host: HOST,
    port,
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.ping();
    return (await client.info('server')).includes(`process_id:${pid}\r`);
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}

async function launch(folder) {
  const port = await freePort();
  const args = ['--port', String(port), '--bind', HOST, '--dir', folder, '--save', '', '--appendonly', 'yes'];
  const server = spawn('redis-server', args, { stdio: 'ignore' });
  server.on('error', () => {});
  const gone = new Promise((resolve) => server.once('close', resolve));
  const stop = async () => {
    if (server.exitCode === null && server.signalCode === null) server.kill('SIGKILL');
    await gone;
  };
  for (let tries = 0; tries < 500 && server.exitCode === null; tries += 1) {
    if (await answers(port, server.pid)) return { port, pid: server.pid, stop };
    await delay(20);
  }
  await stop();
  return null;
}

/** Starts a server that keeps an append-only file in `folder`. */
export async function startRedis(folder) {
  if (spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status !== 0) throw new Error(MISSING);
  for (let tries = 0; tries < 3; tries += 1) {
    const server = await launch(folder);
    if (server !== null) return server;
  }
  throw new Error('redis-server is installed, but did not come up.');
}
