import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import parsePrometheus from 'parse-prometheus-text-format';
import { expect, test } from 'vitest';
import { createHttpHandler } from '../../../src/integrations/http/index.js';
import type { HttpOptions } from '../../../src/integrations/http/index.js';
import { CANARY, filled } from './lab.js';

async function scraped(options: HttpOptions): Promise<[number, string, string]> {
  const all = await filled();
  const handler = createHttpHandler(all.recovery, options);
  await handler(new Request('http://a/metrics'));
  const answer = await handler(new Request('http://a/metrics'));
  all.release();
  const text = await answer.text();
  await all.recovery.shutdown();
  return [answer.status, answer.headers.get('content-type') ?? '', text];
}

test('the text of prom-client, made with the first request', async () => {
  const [status, type, text] = await scraped({});
  expect(status).toBe(200);
  expect(type).toContain('text/plain; version=0.0.4');
  const names = parsePrometheus(text).map(({ name }) => name);
  expect(names).toContain('rekindle_up');
  expect(text).not.toContain(CANARY);
});

test('false takes the route away', async () => {
  expect(await scraped({ prometheus: false })).toMatchObject([404, /json/, /NOT_FOUND/]);
});

test('a text of your own', async () => {
  const prometheus = {
    contentType: 'text/plain; charset=utf-8',
    lines: 'up 1\n',
    async text(): Promise<string> {
      return this.lines;
    },
  };
  expect(await scraped({ prometheus })).toEqual([200, prometheus.contentType, 'up 1\n']);
});

test('without prom-client all the rest works, and /metrics says what is missing', async () => {
  const place = mkdtempSync(join(tmpdir(), 'rekindle-http-'));
  const modules = join(place, 'node_modules');
  mkdirSync(join(modules, 'rekindle'), { recursive: true });
  cpSync('dist', join(modules, 'rekindle', 'dist'), { recursive: true });
  cpSync('package.json', join(modules, 'rekindle', 'package.json'));
  for (const name of ['zod', 'debug', 'ms']) symlinkSync(resolve('node_modules', name), join(modules, name));
  const script = `
    import { createRecovery, memoryStorage } from 'rekindle';
    import { createHttpHandler } from 'rekindle/http';
    const handler = createHttpHandler(createRecovery({ storage: memoryStorage() }));
    for (const path of ['/health/recovery', '/metrics']) {
      const answer = await handler(new Request('http://a' + path));
      const { error } = await answer.json();
      console.log(answer.status, error?.code);
    }`;
  writeFileSync(join(place, 'main.mjs'), script);
  const { stdout } = await promisify(execFile)(process.execPath, ['main.mjs'], { cwd: place });
  expect(stdout).toBe('200 undefined\n501 PROM_CLIENT_MISSING\n');
  rmSync(place, { recursive: true });
});
