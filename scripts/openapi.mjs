// Compares docs/openapi.json with what the built routes say; `--update` writes it anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { openApiDocument } from 'rekindle/http';

const file = join(resolve(import.meta.dirname, '..'), 'docs', 'openapi.json');
const text = await format(JSON.stringify(openApiDocument()), {
  ...(await resolveConfig(file)),
  parser: 'json',
});
if (process.argv.includes('--update')) writeFileSync(file, text);
else if (readFileSync(file, 'utf8') !== text) {
  console.error('The routes differ from docs/openapi.json: run "npm run openapi:update" and review it.');
  process.exitCode = 1;
}
