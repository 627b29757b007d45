/** Finds the documents to work on: real files, in a stable order. */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';

const MOST = 1_000;

/** An id is 1 to 256 characters without braces and control characters; what doesn't fit is hashed. */
function idOf(path) {
  // oxlint-disable-next-line no-control-regex -- they are what an id can't hold
  const fits = path.length <= 256 && !/[{}\u0000-\u001f\u007f]/.test(path) && path.isWellFormed();
  return fits ? path : createHash('sha256').update(path).digest('hex');
}

async function* filesUnder(folder, wanted) {
  const entries = await readdir(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path, wanted);
    else if (entry.isFile() && wanted(entry.name)) yield path;
  }
}

/**
 * The documents of a folder: all files that are not hidden, or only Markdown, at most 1,000.
 * @returns {Promise<{ folder: string, documents: { id: string, path: string }[], found: number }>}
 */
export async function findDocuments(folder, onlyMarkdown) {
  const info = await stat(folder).catch(() => null);
  if (info === null) throw new Error(`There is no folder "${folder}".`);
  if (!info.isDirectory()) throw new Error(`"${folder}" is no folder. Name the folder that the file is in.`);
  const documents = [];
  let found = 0;
  for await (const path of filesUnder(folder, (name) => !onlyMarkdown || name.endsWith('.md'))) {
    found += 1;
    if (documents.length < MOST) {
      documents.push({ id: idOf(relative(folder, path).split(sep).join('/')), path });
    }
  }
  if (found === 0) {
    throw new Error(
      onlyMarkdown
        ? `There are no Markdown files under "${folder}". Run npm ci first, or name another folder.`
        : `There are no files under "${folder}". Name a folder with some documents in it.`,
    );
  }
  return { folder, documents, found };
}
