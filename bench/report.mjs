/** Writes bench/results.json into the documents: between `<!-- bench:NAME -->` and `<!-- /bench -->`, and as a plot. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { plot } from './plot.mjs';
import { cell, figures, markdown, questions } from './table.mjs';

const ROOT = new URL('../', import.meta.url);
const DOCUMENTS = ['docs/performance.md', 'README.md'];
const PRETTIER = 'node_modules/prettier/bin/prettier.cjs';
const PLOT = 'docs/recovery.svg';

/** One line a system over all workloads, for the README. */
function overview(measures) {
  const columns = [
    ['w3', 'first', 'kill -9: first task resumes, ms'],
    ['w3', 'all', 'all 200 done, ms'],
    ['w2', 'rate', 'checkpoints/s'],
    ['w1', 'rate', 'no-op tasks/s'],
  ];
  const lines = columns.flatMap(([name]) => measures[name]?.table.lines ?? []);
  // Ours first, the floors last; the others as they come.
  const place = (system) => (system.startsWith('rekindle') ? 0 : system.startsWith('floor') ? 2 : 1);
  const systems = [...new Set(lines.map(({ system }) => system))].toSorted((a, b) => place(a) - place(b));
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

/** As the repository's formatter has it, so that the text can be compared. */
function format(name, text) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PRETTIER, '--stdin-filepath', name], {
    cwd: fileURLToPath(ROOT),
    input: text,
  });
  if (status !== 0) throw new Error(stderr.toString());
  return stdout.toString();
}

const read = (name) => readFileSync(new URL(name, ROOT), 'utf8');

/** The documents and the plot as they should be. Nothing but what is between the markers differs from what they are. */
function report(results) {
  const given = blocks(results);
  const texts = DOCUMENTS.map((name) => [name, format(name, fill(read(name), given))]);
  const { w3 } = results.measures;
  return w3 === undefined ? texts : [...texts, [PLOT, plot(w3.table)]];
}

/** Rewrites the documents and the plot. */
export function writeReport(results) {
  for (const [name, text] of report(results)) writeFileSync(new URL(name, ROOT), text);
}

// By itself: whether the documents say what was measured; with `--write` they are made to.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const results = JSON.parse(read('bench/results.json'));
  if (process.argv.includes('--write')) writeReport(results);
  const stale = report(results).filter(([name, text]) => read(name) !== text);
  for (const [name] of stale) {
    console.error(`${name} is not what bench/results.json says: node bench/report.mjs --write`);
  }
  if (stale.length > 0) process.exitCode = 1;
}
