/**
 * The benchmarks: `npm run bench -- [--quick] [--only name,name] [--systems name,name] [--json file] [--write] [--check]`.
 *
 * Everything is measured here and now, beside its floor: nothing is compared with a figure from elsewhere. `--json` adds
 * to a file that is there, a measure at a time, so that a run can be gone on with by `--only`; `--write` does so with
 * bench/results.json, and then writes the tables and the plot out of it. `--check` measures what has missed its target
 * once more, and then fails.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cleanup } from './cleanup.mjs';
import { cluster } from './cluster.mjs';
import { codecCost } from './codec.mjs';
import { counts } from './counts.mjs';
import { discovery } from './discovery.mjs';
import { documents } from './documents.mjs';
import { heapPerTask } from './heap.mjs';
import { heartbeats } from './heartbeats.mjs';
import { importTime } from './import.mjs';
import { machine, software } from './machine.mjs';
import { memory } from './memory.mjs';
import { operations } from './operations.mjs';
import { recovery } from './recovery.mjs';
import { redisCheckpoint } from './redis-checkpoint.mjs';
import { redisMap } from './redis-map.mjs';
import { writeReport } from './report.mjs';
import { sqliteCheckpoint } from './sqlite-checkpoint.mjs';
import { storm } from './storm.mjs';
import { figures, questions } from './table.mjs';
import { checkpoints, noops, scans } from './workloads.mjs';
import { zombie } from './zombie.mjs';

const MEASURES = {
  w1: noops,
  w2: checkpoints,
  w3: recovery,
  w4: scans,
  zombie,
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
  heartbeats,
  storm,
  cluster,
  memory,
};
const RESULTS = new URL('results.json', import.meta.url);

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    only: { type: 'string' },
    systems: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean' },
    check: { type: 'boolean' },
  },
});
const file = options.write ? RESULTS : options.json;
// Ends what was started, too: servers and workers are ended on `exit`, which a signal alone does not bring.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
const names = options.only?.split(',') ?? Object.keys(MEASURES);
const unknown = names.filter((name) => !(name in MEASURES));
if (unknown.length > 0) throw new RangeError(`--only knows ${Object.keys(MEASURES).join(', ')}`);

/** What is in the file already, if it is of this machine and these versions. */
function kept() {
  if (file === undefined || !existsSync(file)) return {};
  const found = JSON.parse(readFileSync(file, 'utf8'));
  const same = JSON.stringify([found.machine, found.software]) === JSON.stringify([machine, software]);
  return same ? found.measures : {};
}

function print({ rows, table }) {
  if (table !== undefined) console.log(`${figures(table)}\n\n${questions(table)}\n`);
  for (const line of rows) {
    const verdict = line.target === null ? '' : `, target ${line.target}: ${line.met ? 'met' : 'MISSED'}`;
    console.log(`${line.measure}\n    ours   ${line.ours}\n    floor  ${line.floor}`);
    console.log(`    ratio  ${line.ratio.toFixed(2)}${verdict}`);
    if (line.note !== undefined) console.log(`    note   ${line.note}`);
  }
}

async function measure(name) {
  const start = performance.now();
  const given = {
    quick: options.quick === true,
    check: options.check === true,
    only: options.systems?.split(','),
  };
  const found = await MEASURES[name](given);
  const { rows, table } = Array.isArray(found) ? { rows: found } : found;
  print({ rows, table });
  const seconds = Math.round((performance.now() - start) / 1_000);
  console.log(`(${name}: ${seconds} s)\n`);
  return { quick: given.quick, seconds, rows, ...(table !== undefined && { table }) };
}

const missed = ({ rows }) => rows.filter(({ met }) => met === false);

async function run() {
  console.log(
    Object.entries({ ...machine, ...software })
      .map((pair) => pair.join(' '))
      .join(', '),
  );
  console.log('Medians of several rounds in turns (lowest-highest). The ratio is ours to the floor.\n');
  const measures = kept();
  const failed = [];
  for (const name of names) {
    measures[name] = await measure(name);
    if (options.check && missed(measures[name]).length > 0) {
      console.log(`${name} has missed a target. Once more, in case it was the machine.\n`);
      measures[name] = await measure(name);
    }
    failed.push(...missed(measures[name]));
    if (file === undefined) continue;
    // As soon as it is known: a later one may be interrupted.
    const ordered = Object.keys(MEASURES).filter((key) => key in measures);
    const sorted = Object.fromEntries(ordered.map((key) => [key, measures[key]]));
    writeFileSync(file, `${JSON.stringify({ machine, software, measures: sorted }, null, 2)}\n`);
  }
  if (failed.length > 0) console.log(`Missed: ${failed.map(({ measure: what }) => what).join('; ')}`);
  if (options.check && failed.length > 0) process.exitCode = 1;
}

await run();
if (options.write) writeReport(JSON.parse(readFileSync(RESULTS, 'utf8')));
