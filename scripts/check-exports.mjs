// package.json `exports` and the built entry points must agree, both ways, and every entry must load.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = resolve(import.meta.dirname, '..');
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const built = readdirSync(join(root, 'dist')).filter(
  (file) => file.endsWith('.d.ts') && !/-[\w-]{8}\.d\.ts$/.test(file),
);
const promised = Object.values(exports)
  .filter((target) => typeof target !== 'string')
  .map((target) => target.types.replace('./dist/', ''));

const problems = [
  ...promised
    .filter((file) => !built.includes(file))
    .map((file) => `exports names ${file}, which is not built`),
  ...built
    .filter((file) => !promised.includes(file))
    .map((file) => `${file} is built, but exports does not name it`),
];
for (const target of Object.values(exports)) {
  if (typeof target === 'string') continue;
  const entry = await import(pathToFileURL(join(root, target.default)).href);
  if (Object.keys(entry).length === 0) problems.push(`${target.default} exports nothing`);
}

const IMPORTS = /\b(?:from|import)\s*\(?\s*["']([^"']+)["']/g;
const STATIC_IMPORTS = /\b(?:from|import)\s*["']([^"']+)["']/g;

/** The packages that a built file imports, through other built files too. */
function packagesOf(file, pattern = IMPORTS, seen = new Set()) {
  const found = new Set();
  if (seen.has(file)) return found;
  seen.add(file);
  const imports = readFileSync(file, 'utf8').matchAll(pattern);
  for (const [, name] of imports) {
    if (!name.startsWith('.')) found.add(name);
    else for (const inner of packagesOf(join(dirname(file), name), pattern, seen)) found.add(inner);
  }
  return found;
}

// Who does not ask for them does not pay for loading them, and need not have them.
const ONLY_IN = {
  zod: ['./dist/schemas.js', './dist/http.js'],
  // By http with the first request for it.
  'prom-client': ['./dist/prometheus.js', './dist/http.js'],
  // Types only.
  bullmq: [],
  'pg-boss': [],
  '@opentelemetry/api': ['./dist/opentelemetry.js'],
};
for (const target of Object.values(exports)) {
  if (typeof target === 'string') continue;
  const packages = packagesOf(join(root, target.default));
  for (const [name, entries] of Object.entries(ONLY_IN)) {
    const wanted = entries.includes(target.default);
    if (packages.has(name) !== wanted)
      problems.push(`${target.default} ${wanted ? 'does not import' : 'imports'} ${name}`);
  }
}
if (packagesOf(join(root, 'dist/http.js'), STATIC_IMPORTS).has('prom-client'))
  problems.push('./dist/http.js loads prom-client before it is asked for');
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
