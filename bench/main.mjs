/**
 * The benchmarks: `npm run bench -- [--quick] [--only name,name] [--json file]`.
 *
 * Everything is measured here and now, beside its floor: nothing is compared with a figure from elsewhere.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { cleanup } from './cleanup.mjs';
import { codecCost } from './codec.mjs';
import { counts } from './counts.mjs';
import { discovery } from './discovery.mjs';
import { documents } from './documents.mjs';
import { heapPerTask } from './heap.mjs';
import { importTime } from './import.mjs';
import { operations } from './operations.mjs';
import { redisCheckpoint } from './redis-checkpoint.mjs';
import { redisMap } from './redis-map.mjs';
import { sqliteCheckpoint } from './sqlite-checkpoint.mjs';

const MEASURES = {
  redis: redisCheckpoint,
  map: redisMap,
  codec: codecCost,
  sqlite: sqliteCheckpoint,
  heap: heapPerTask,
  import: importTime,
  discovery,
  counts,
  documents,
  operations,
  cleanup,
};

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean' }, only: { type: 'string' }, json: { type: 'string' } },
});

function versions() {
  const folder = new URL('../node_modules/', import.meta.url);
  const of = (name) => JSON.parse(readFileSync(new URL(`${name}/package.json`, folder), 'utf8')).version;
  const redis = /v=(\S+)/.exec(execFileSync('redis-server', ['--version']).toString())?.[1];
  return { node: process.version, redis, ioredis: of('ioredis'), libsql: of('libsql') };
}

const machine = {
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  platform: `${process.platform} ${process.arch}`,
};
const software = versions();
console.log(
  Object.entries({ ...machine, ...software })
    .map((pair) => pair.join(' '))
    .join(', '),
);
console.log('Medians of several rounds in turns (lowest-highest). The ratio is ours to the floor.\n');

const wanted = options.only?.split(',') ?? Object.keys(MEASURES);
const rows = [];
for (const name of wanted) {
  const measure = MEASURES[name];
  if (measure === undefined) throw new RangeError(`--only knows ${Object.keys(MEASURES).join(', ')}`);
  for (const line of await measure({ quick: options.quick === true })) {
    rows.push(line);
    const verdict = line.target === null ? '' : `, target ${line.target}: ${line.met ? 'met' : 'MISSED'}`;
    console.log(`${line.measure}\n    ours   ${line.ours}\n    floor  ${line.floor}`);
    console.log(`    ratio  ${line.ratio.toFixed(2)}${verdict}`);
    if (line.note !== undefined) console.log(`    note   ${line.note}`);
  }
}
if (options.json !== undefined) {
  writeFileSync(options.json, `${JSON.stringify({ machine, software, rows }, null, 2)}\n`);
}
