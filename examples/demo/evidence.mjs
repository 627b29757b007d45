/** Reads what the workers left behind, their log and the summaries, and says what came of it. */
import { readFileSync } from 'node:fs';
import { STAGES, summaryFile } from './work.mjs';

/** What the log tells of the first run: what was acknowledged as done, and what was begun and not. */
export function readLog(text) {
  const lines = text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
  const first = lines.filter(({ run }) => run === 1);
  const done = new Set(first.filter(({ what }) => what === 'done').map(({ id }) => id));
  const begun = first.filter(({ what }) => what === 'started').map(({ id }) => id);
  return { lines, done, inHand: new Set(begun.filter((id) => !done.has(id))) };
}

function repeated(keys) {
  const seen = new Set();
  const twice = new Set();
  for (const key of keys) (seen.has(key) ? twice : seen).add(key);
  return twice.size;
}

function isWhole(folder, id) {
  try {
    const summary = JSON.parse(readFileSync(summaryFile(folder, id), 'utf8'));
    return summary.id === id && STAGES.every(({ name }) => name in summary);
  } catch {
    return false;
  }
}

/** The figures of the demo, all of them counted. */
export function judge({ documents, output, spawnedAtMs }, text) {
  const { lines, inHand } = readLog(text);
  const started = lines.filter(({ what }) => what === 'started');
  const again = started.filter(({ run, id }) => run === 2 && inHand.has(id));
  const stages = lines.filter(({ what }) => what === 'stage').map(({ id, stage }) => `${stage} ${id}`);
  const times = again.map(({ atMs }) => atMs - spawnedAtMs);
  return {
    total: documents.length,
    inHand,
    resumed: again.filter(({ from }) => from !== null).length,
    restarted: again.filter(({ from }) => from === null).length,
    firstAgainMs: times.length > 0 ? Math.min(...times) : null,
    allAgainMs: times.length > 0 ? Math.max(...times) : null,
    startedTwice: repeated(started.map(({ id }) => id)),
    stages: new Set(stages).size,
    stagesTwice: repeated(stages),
    lost: documents.filter(({ id }) => !isWhole(output, id)).map(({ id }) => id),
  };
}
