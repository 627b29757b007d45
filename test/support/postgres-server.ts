/** Real PostgreSQL servers for tests: free loopback ports, data in temp folders, each stopped by its own pid. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { freePort, HOST, waitFor } from './redis-server.js';

const DEBIAN = '/usr/lib/postgresql';

/** A running server with one superuser, `postgres`, who needs no password. */
export interface PostgresServer {
  readonly port: number;
  /** Of the database `postgres`. */
  readonly url: string;
  readonly pid: number;
  /** Ends it at once and removes its folder. Harmless when it is already gone. */
  stop(): Promise<void>;
}

/** The folder with `initdb` and `postgres`; null when there is none. Debian keeps them off the PATH. */
function binaries(): string | null {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN) : [];
  const newestFirst = versions
    .toSorted((a, b) => Number(b) - Number(a))
    .map((each) => `${DEBIAN}/${each}/bin`);
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...newestFirst];
  const has = (folder: string): boolean =>
    ['initdb', 'postgres'].every((name) => existsSync(join(folder, name)));
  return folders.find((folder) => folder !== '' && has(folder)) ?? null;
}

/**
 * Makes sure that there is a PostgreSQL: installs it where that is possible, else throws with the command to run. Tests on a
 * real server are never skipped silently.
 */
export function ensurePostgres(): string {
  const found = binaries();
  if (found !== null) return found;
  const apt = spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status === 0;
  if (apt && process.getuid?.() === 0) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    spawnSync('apt-get', ['update'], { stdio: 'inherit', env });
    spawnSync('apt-get', ['install', '-y', '--no-install-recommends', 'postgresql'], {
      stdio: 'inherit',
      env,
    });
    const installed = binaries();
    if (installed !== null) return installed;
  }
  throw new Error(
    'The tests need PostgreSQL (13 or later), with initdb. Install it with\n' +
      '  Debian/Ubuntu: sudo apt-get update && sudo apt-get install -y --no-install-recommends postgresql\n' +
      '  Fedora, Alpine: sudo dnf install -y postgresql-server, or sudo apk add postgresql\n' +
      '  macOS:         brew install postgresql',
  );
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Whom to run it as: PostgreSQL refuses root. Null: as who runs the tests. */
function unprivileged(): User | null {
  if (process.getuid?.() !== 0) return null;
  const users = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const wanted of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find((line) => line.startsWith(`${wanted}:`))?.split(':') ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody.');
}

/** Servers that still run, with their folders; ended when the test process ends, however it ends. */
const running = new Map<ChildProcess, string>();
process.once('exit', () => {
  for (const [child, folder] of running) {
    child.kill('SIGQUIT');
    rmSync(folder, { recursive: true, force: true });
  }
});

function makeCluster(bin: string, folder: string, user: User | null): void {
  const args = ['--pgdata', join(folder, 'data'), '--username', 'postgres', '--auth', 'trust'];
  const quick = ['--no-sync', '--locale', 'C', '--encoding', 'UTF8', '--no-instructions'];
  const made = spawnSync(join(bin, 'initdb'), [...args, ...quick], {
    cwd: folder,
    encoding: 'utf8',
    ...user,
  });
  if (made.status !== 0) throw new Error(`initdb failed:\n${made.stderr}${made.error?.message ?? ''}`);
}

/** Nothing here is to outlive the machine: no sync. Few connections, little memory. */
function launch(bin: string, folder: string, port: number, user: User | null): ChildProcess {
  const settings = {
    listen_addresses: HOST,
    unix_socket_directories: folder,
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    autovacuum: 'off',
    shared_buffers: '16MB',
    max_connections: '60',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const child = spawn(join(bin, 'postgres'), ['-D', join(folder, 'data'), '-p', String(port), ...args], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    ...user,
  });
  running.set(child, folder);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Whether it takes connections: it says so itself, in a file that it writes under its own pid. */
function isReady(folder: string, { pid }: ChildProcess): boolean {
  const file = join(folder, 'data', 'postmaster.pid');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
  return lines[0] === String(pid) && lines[7]?.trim() === 'ready';
}

/** Starts one and resolves once it answers: some 1.5 s, nearly all of them for initdb. */
export async function startPostgres(): Promise<PostgresServer> {
  const bin = ensurePostgres();
  const user = unprivileged();
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-postgres-'));
  if (user !== null) chownSync(folder, user.uid, user.gid);
  makeCluster(bin, folder, user);
  const port = await freePort();
  const child = launch(bin, folder, port, user);
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4000)));
  const stop = async (): Promise<void> => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    // Its children are gone with it: SIGKILL would leave them.
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGQUIT')) await gone;
    rmSync(folder, { recursive: true, force: true });
  };
  await waitFor('PostgreSQL', () => {
    if (child.exitCode !== null) throw new Error(`PostgreSQL on port ${port} did not come up:\n${output}`);
    return isReady(folder, child);
  }).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  const url = `postgres://postgres@${HOST}:${port}/postgres`;
  return { port, url, pid: child.pid ?? -1, stop };
}
