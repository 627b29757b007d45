/** Writes bench/results.json into the documents: between `<!-- bench:NAME -->` and `<!-- /bench -->`, and as a plot. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { plot } from './plot.mjs';
import { cell, figures, markdown, questions } from './table.mjs';

const ROOT = new URL('../', import.meta.url);
const DOCUMENTS = ['docs/performance.md', 'README.md'];

/** One line a system over all workloads, for the README. */
function overview(measures) {
  const columns = [
    ['w3', 'first', 'kill -9: first task resumes, ms'],
    ['w3', 'all', 'all 200 done, ms'],
    ['w2', 'rate', 'checkpoints/s'],
    ['w1', 'rate', 'no-op tasks/s'],
  ];
  const lines = columns.flatMap(([name]) => measures[name]?.table.lines ?? []);
  const systems = [...new Set(lines.map(({ system }) => system))];
  const of = (system, [name, key]) =>
    measures[name]?.table.lines.find((line) => line.system === system)?.values[key];
  const middle = (summary) =>
    summary === undefined ? '–' : cell({ ...summary, min: 0, max: 0 }, {}).split(' ')[0];
  const body = systems.map((system) => [system, ...columns.map((column) => middle(of(system, column)))]);
  return markdown(['', ...columns.map(([, , title]) => title)], body);
}

/** Each line that has a floor or a target, of all measures. */
function targets(measures) {
  const verdict = ({ met }) => (met === null ? '' : met ? 'yes' : '**no**');
  const rows = Object.values(measures).flatMap((measure) => measure.rows);
  const body = rows.map((line) => [
    line.measure,
    line.ours,
    line.floor,
    line.ratio.toFixed(2),
    line.target ?? '–',
    verdict(line),
  ]);
  return markdown(['', 'ours', 'floor', 'ratio', 'target', 'met'], body);
}

function machineText({ machine, software, measures }) {
  const list = (object) =>
    Object.entries(object)
      .map((pair) => pair.join(' '))
      .join(', ');
  const quick = Object.values(measures).some((measure) => measure.quick)
    ? ' Some of it was a `--quick` run: few and short rounds.'
    : '';
  return `Machine: ${list(machine)}. Versions: ${list(software)}.${quick}`;
}

function blocks(results) {
  const { measures } = results;
  const found = { machine: machineText(results), overview: overview(measures), targets: targets(measures) };
  for (const { table } of Object.values(measures)) {
    if (table !== undefined) found[table.id] = `${figures(table)}\n\n${questions(table)}`;
  }
  return found;
}

function fill(text, given) {
  return text.replace(/<!-- bench:(\w+) -->[\s\S]*?<!-- \/bench -->/g, (old, name) =>
    name in given ? `<!-- bench:${name} -->\n\n${given[name]}\n\n<!-- /bench -->` : old,
  );
}

/** Rewrites the documents and the plot. Nothing but what is between the markers changes. */
export async function writeReport(results) {
  const given = blocks(results);
  for (const name of DOCUMENTS) {
    const path = new URL(name, ROOT);
    writeFileSync(path, fill(readFileSync(path, 'utf8'), given));
  }
  const { w3 } = results.measures;
  if (w3 !== undefined) writeFileSync(new URL('docs/recovery.svg', ROOT), plot(w3.table));
  const { status } = spawnSync(
    'npx',
    ['prettier', '--write', '--log-level', 'warn', ...DOCUMENTS, 'bench/results.json'],
    {
      cwd: fileURLToPath(ROOT),
      stdio: 'inherit',
    },
  );
  if (status !== 0) throw new Error('prettier has failed.');
}
