/** What `import 'rekindle'` costs a process, and what it loads. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rounds, row, show } from './harness.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DRIVERS = ['ioredis', 'libsql', 'better-sqlite3', 'node:sqlite'];
const NOTHING = 'export {}';
const IMPORT = "import 'rekindle'";
/** Prints the CommonJS modules that are loaded; all drivers but Node's own are such. */
const LOADED = `import { createRequire } from 'node:module'; ${IMPORT};
console.log(Object.keys(createRequire(process.cwd() + '/package.json').cache).join())`;

/** Runs a program in a process of its own, in the package's folder, where it finds the package by its name. */
function run(program) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: ROOT,
  });
  if (status !== 0) throw new Error(stderr.toString());
  return stdout.toString();
}

function spawnMs(program) {
  const start = performance.now();
  run(program);
  return performance.now() - start;
}

/** The modules outside the package that a built file imports by itself, directly or through its own chunks. */
function importsOf(file, seen = new Set()) {
  if (seen.has(file)) return [];
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  const found = [...text.matchAll(/^(?:import|export)\b[^"';]*["']([^"']+)["']/gm)].map(([, name]) => name);
  return found.flatMap((name) =>
    name.startsWith('.') ? importsOf(join(dirname(file), name), seen) : [name],
  );
}

export async function importTime({ quick }) {
  const { bare, ours } = await rounds(quick ? 11 : 31, {
    bare: () => spawnMs(NOTHING),
    ours: () => spawnMs(IMPORT),
  });
  const packages = [...new Set(importsOf(join(ROOT, 'dist', 'index.js')))];
  const loaded = run(LOADED);
  const drivers = DRIVERS.filter((name) => packages.includes(name) || loaded.includes(`/${name}/`));
  return [
    {
      ...row("import 'rekindle', ms beyond Node", show(ours, 1), show(bare, 1), ours.median - bare.median, {
        most: 25,
      }),
      note: 'the ratio is the difference in ms',
    },
    row('drivers that the main entry loads', String(drivers.length), packages.join(', '), drivers.length, {
      most: 0,
    }),
  ];
}
