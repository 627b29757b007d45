/** The work on one document: four stages, each a function of the text and of what the stages before it found. */
import { createHash, pbkdf2 } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const derive = promisify(pbkdf2);

/** Some milliseconds of real computation on another thread, where a parser or a model would do its part. */
async function effort(text) {
  const key = await derive(text, 'rekindle demo', 25_000, 16, 'sha512');
  return key.toString('hex');
}

const read = ({ path }) => readFile(path, 'utf8');
const count = (text, pattern) => text.match(pattern)?.length ?? 0;

async function hash(document) {
  const text = await read(document);
  const sha256 = createHash('sha256').update(text).digest('hex');
  return { sha256, characters: text.length, seal: await effort(text) };
}

async function counts(document) {
  const text = await read(document);
  await effort(text);
  return {
    words: count(text, /\p{L}+/gu),
    headings: count(text, /^#{1,6} /gm),
    links: count(text, /\]\([^)]+\)/g),
  };
}

async function terms(document) {
  const text = await read(document);
  const found = new Map();
  for (const [word] of text.toLowerCase().matchAll(/\p{L}{4,}/gu)) {
    found.set(word, (found.get(word) ?? 0) + 1);
  }
  await effort(text);
  return [...found].toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 20);
}

/** Each stage with a checkpoint behind it; then the summary is written. */
export const STAGES = [
  { name: 'hash', percent: 25, run: hash },
  { name: 'counts', percent: 50, run: counts },
  { name: 'terms', percent: 75, run: terms },
];

/** Where the summary of a document is. */
export function summaryFile(folder, id) {
  return join(folder, `${createHash('sha256').update(id).digest('hex')}.json`);
}

/** Written under another name first, so that a summary is there whole or not at all, however often this runs. */
export async function writeSummary(folder, document, found) {
  const file = summaryFile(folder, document.id);
  await effort(JSON.stringify(found));
  await writeFile(`${file}.new`, JSON.stringify({ id: document.id, ...found }));
  await rename(`${file}.new`, file);
}
