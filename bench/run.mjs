/**
 * `node bench/run.mjs [options]`: installs what the bench needs, where it is missing, and runs it. Only Node's own
 * modules here: the others may not be there yet.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));
const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));

function isInstalled([name, version]) {
  const path = `node_modules/${name}/package.json`;
  return existsSync(new URL(path, import.meta.url)) && read(path).version === version;
}

if (!Object.entries(read('package.json').dependencies).every(isInstalled)) {
  console.log('Installing what is measured beside it (npm ci --prefix bench).');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
await import('./main.mjs');
