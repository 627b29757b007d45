/** A Postgres of our own, with its defaults, on a free loopback port, its data in a temp folder. */
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, HOST, tempFolder } from './harness.mjs';

const DEBIAN = '/usr/lib/postgresql';

/** The folder of its programs: the newest of Debian, or wherever the PATH has them; null where there is none. */
function programs() {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = versions.map((version) => join(DEBIAN, version, 'bin'));
  folders.push(...(process.env['PATH'] ?? '').split(':'));
  return folders.find((folder) => existsSync(join(folder, 'initdb'))) ?? null;
}

/** Postgres refuses to run as root: then it runs as the user `postgres`. */
function owner() {
  if (process.getuid?.() !== 0) return {};
  const id = (flag) => Number(execFileSync('id', [flag, 'postgres']).toString());
  return { uid: id('-u'), gid: id('-g') };
}

export function postgresVersion() {
  const folder = programs();
  if (folder === null) return null;
  return /\d[\d.]*/.exec(execFileSync(join(folder, 'postgres'), ['--version']).toString())?.[0] ?? null;
}

/** Starts one, or returns null where it is not installed. `stop` ends this very process and removes the folder. */
export async function startPostgres() {
  const bin = programs();
  if (bin === null) return null;
  const folder = tempFolder();
  const who = owner();
  const data = join(folder.path, 'data');
  mkdirSync(data);
  for (const path of [folder.path, data]) {
    if (who.uid !== undefined) chownSync(path, who.uid, who.gid);
  }
  const options = { ...who, cwd: folder.path, stdio: 'ignore' };
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'bench', '-A', 'trust', '-E', 'UTF8'], options);
  const port = await freePort();
  const args = ['-D', data, '-h', HOST, '-p', String(port), '-k', folder.path];
  const child = spawn(join(bin, 'postgres'), args, options);
  const gone = new Promise((resolve) => child.once('exit', resolve));
  // At once, and without a farewell to its clients; its own processes end with it.
  const quit = () => child.kill('SIGQUIT');
  process.once('exit', quit);
  const stop = async () => {
    quit();
    await gone;
    process.off('exit', quit);
    folder.remove();
  };
  const url = `postgresql://bench@${HOST}:${port}/postgres`;
  await answers(url).catch(async (error) => {
    await stop();
    throw error;
  });
  return { url, stop };
}

async function answers(url) {
  const { default: pg } = await import('pg');
  for (let attempt = 0; ; attempt += 1) {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (attempt === 150) throw error;
      await delay(100);
    }
  }
}
