/** What the documents say is true: their code runs, their links lead somewhere, the tests they name exist. */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRecovery, memoryStorage } from '../src/index.js';
import { redisStorage } from '../src/storage/redis.js';
import { storageSuite } from '../src/testing/index.js';
import { startPostgres } from './support/postgres-server.js';
import type { PostgresServer } from './support/postgres-server.js';
import { redisCommand, startRedis } from './support/redis-server.js';
import type { RedisServer } from './support/redis-server.js';

const execute = promisify(execFile);
const FILES = ['README.md', 'CHANGELOG.md', ...readdirSync('docs').map((name) => `docs/${name}`)];

interface Block {
  readonly file: string;
  readonly line: number;
  readonly language: string;
  readonly code: string;
}

const text = (file: string): string => readFileSync(file, 'utf8');

function blocksOf(file: string): Block[] {
  const found: Block[] = [];
  const lines = text(file).split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const language = /^```(\w+)$/.exec(lines[at] ?? '')?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf('```', at + 1);
    found.push({ file, line: at + 1, language, code: `${lines.slice(at + 1, end).join('\n')}\n` });
    at = end;
  }
  return found;
}

const BLOCKS = FILES.flatMap(blocksOf);
const inLanguage = (language: string): Block[] => BLOCKS.filter((block) => block.language === language);

let place = '';
let server: RedisServer;
let postgres: PostgresServer;
beforeAll(async () => {
  expect(existsSync('dist/index.d.ts'), 'The documents are about the built package: npm run build').toBe(
    true,
  );
  mkdirSync('temp', { recursive: true });
  // Inside of the project, so that `rekindle` is found by its name.
  place = mkdtempSync('temp/docs-');
  server = await startRedis({ appendonly: 'always' });
  postgres = await startPostgres();
});
afterAll(async () => {
  rmSync(place, { recursive: true, force: true });
  await server.stop();
  await postgres.stop();
});

describe('code in the documents', () => {
  test.each(inLanguage('js'))('$file:$line runs', async ({ line, file, code }) => {
    const folder = mkdtempSync(join(place, 'js-'));
    writeFileSync(join(folder, 'block.mjs'), code);
    const env = { ...process.env, REDIS_URL: server.url, DATABASE_URL: postgres.url };
    const done = execute(process.execPath, ['block.mjs'], { cwd: folder, env, timeout: 30_000 });
    // What a `text` block behind it says is what it prints.
    const after = BLOCKS.find((block) => block.file === file && block.line > line);
    const stdout = after?.language === 'text' ? { stdout: after.code } : {};
    await expect(done, `${file}:${line}`).resolves.toMatchObject({ stderr: '', ...stdout });
  });

  test('the blocks in TypeScript have the right types', async () => {
    const folder = mkdtempSync(join(place, 'ts-'));
    const blocks = inLanguage('ts');
    expect(blocks.length).toBeGreaterThan(0);
    const names = blocks.map(({ file, line }) => `${file.replaceAll(/\W/g, '-')}-${line}.mts`);
    for (const [at, { code }] of blocks.entries()) writeFileSync(join(folder, names[at]!), code);
    const compilerOptions = {
      target: 'es2022',
      module: 'nodenext',
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: true,
      noEmit: true,
      types: ['node'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: names }));
    await execute(process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder]).catch(
      (error: { stdout: string }) => expect.fail(error.stdout),
    );
  });

  test('the Redis user in the documents has the rights that are needed, and no others', async () => {
    const [{ code } = { code: '' }] = inLanguage('acl');
    await redisCommand(server.port, code.trim().split(' '));
    const redis = new Redis({ port: server.port, username: 'rekindle', password: 'secret' });
    const recovery = createRecovery({ storage: redisStorage(redis) });
    const task = recovery.withRecovery(
      async (ctx, name: string) => {
        await ctx.createCheckpoint({ name: 'half', progressPercent: 50, recoverableData: [name] });
        return name.length;
      },
      { name: 'narrow', taskId: (name) => name },
    );
    const { warnings } = await recovery.runStartupRecovery();
    expect(warnings).toEqual([]);
    expect(await task('four')).toBe(4);
    expect(await recovery.tasks.counts()).toMatchObject({ completed: 1 });
    await expect(redis.get('foreign')).rejects.toThrow('NOPERM');
    await recovery.shutdown();
    redis.disconnect();
  });
});

/** As GitHub makes them. */
function anchorsOf(file: string): Set<string> {
  const headings =
    text(file)
      .replaceAll(/^```[\s\S]*?^```/gm, '')
      .match(/^#+ .*$/gm) ?? [];
  const slug = (heading: string): string =>
    heading
      .replace(/^#+ /, '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
  return new Set(headings.map(slug));
}

describe('links', () => {
  test.each(FILES)('%s: every relative link and anchor exists', (file) => {
    for (const [, link = ''] of text(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? file : relative('.', join(dirname(file), path));
      expect(existsSync(target), `${file}: ${link}`).toBe(true);
      if (anchor !== undefined) expect([...anchorsOf(target)], `${file}: ${link}`).toContain(anchor);
    }
  });
});

describe('performance', () => {
  test('the tables and the plot are what bench/results.json says', async () => {
    await expect(execute(process.execPath, ['bench/report.mjs'])).resolves.toMatchObject({ stderr: '' });
  });
});

describe('errors.md', () => {
  const union = /type RecoveryErrorCode =([^;]+);/.exec(text('src/errors.ts'))?.[1] ?? '';
  const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code);
  const sections = text('docs/errors.md').split(/^## /m).slice(1);

  test('has a heading for each code, in order, and no other', () => {
    expect(codes.length).toBeGreaterThan(20);
    expect(sections.map((section) => section.split('\n')[0])).toEqual(codes);
  });

  test('says of each code whether it is retryable, unless it is never thrown', () => {
    for (const section of sections)
      expect(section).toMatch(/retryable|never thrown|does not throw|no call that/i);
  });
});

describe('guarantees.md', () => {
  const guarantees = text('docs/guarantees.md');

  test('names tests that exist', () => {
    const named = [...guarantees.matchAll(/\]\(\.\.\/(test\/[^)]+)\): "([^"]+)"/g)];
    expect(named.length).toBeGreaterThan(10);
    for (const [, file = '', title = ''] of named) {
      expect(existsSync(file), file).toBe(true);
      expect(text(file).replaceAll('\\', '').includes(title), `${file}: "${title}"`).toBe(true);
    }
    // A line that the pattern above doesn't see would go unchecked.
    expect(named.length).toBe(guarantees.match(/\(\.\.\/test\//g)?.length);
  });

  test('has every law, with cases that exist', () => {
    const { cases } = storageSuite({
      name: 'titles',
      open: async () => ({ storage: memoryStorage(), dispose: async () => {} }),
    });
    for (const law of ['S1', 'S2', 'S3', 'S4', 'S5', 'S6', 'S7', 'S8']) {
      const section = guarantees.split(`**${law} `)[1]?.split('**S')[0]?.split('\n## ')[0] ?? '';
      const named = [...section.matchAll(/^\s+- "([^"]+)"/gm)].map(([, title]) => title);
      expect(named.length, law).toBeGreaterThan(0);
      const titles = cases.filter((each) => each.law === law).map(({ title }) => title);
      for (const title of named) expect(titles).toContain(title);
    }
  });
});
