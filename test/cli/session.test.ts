import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { createRecovery, memoryStorage } from '../../src/index.js';
import { keys } from '../../src/state/keys.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';
import { cli, moduleOf, prepare, tempFolder, withRecovery } from './cli.js';
import { documents, failure } from './schemas.js';

const MODULE = fileURLToPath(new URL('../fixtures/cli-tasks.mjs', import.meta.url));
let folder = '';
let file = '';
beforeAll(async () => {
  folder = tempFolder();
  file = join(folder, 'tasks.db');
  await withRecovery(file, prepare, { partitions: 3, namespace: 'ours' });
});

describe('a storage', () => {
  test('is named by an option, relative to where one stands, or by the environment', async () => {
    const lines = async (args: string[], given: Parameters<typeof cli>[1]): Promise<number> => {
      const { code, stdout } = await cli(['tasks', '--namespace', 'ours', ...args], given);
      expect(code).toBe(0);
      return stdout.split('\n').length;
    };
    expect(await lines(['--sqlite', 'tasks.db'], { cwd: folder })).toBe(8);
    expect(await lines([`--sqlite=${file}`], {})).toBe(8);
    expect(await lines([], { env: { REKINDLE_SQLITE: file } })).toBe(8);
    // What is named goes before the environment, also what is of another kind.
    const env = { REKINDLE_REDIS_URL: 'redis://127.0.0.1:1', REKINDLE_SQLITE: '/nowhere' };
    expect(await lines(['--sqlite', file], { env })).toBe(8);
    expect(await lines([], { env: { REKINDLE_SQLITE: file, REKINDLE_REDIS_URL: '' } })).toBe(8);
  });

  test('global options may stand before the command, too', async () => {
    const ran = await cli(['--json', '--namespace', 'ours', '--sqlite', file, 'tasks']);
    expect(documents.tasks.parse(ran.json).tasks).toHaveLength(6);
  });

  test.each([
    [[], {}, /No storage is named.*--redis-url, --sqlite and --import/],
    [['--sqlite', 'a', '--redis-url', 'redis://h'], {}, /Two storages/],
    [[], { REKINDLE_SQLITE: 'a', REKINDLE_REDIS_URL: 'redis://h' }, /Two storages/],
    [['--sqlite', 'a', '--namespace', 'a{b}'], {}, /The namespace holds a brace/],
    [['--import', MODULE, '--sqlite', 'a'], {}, /leave out --redis-url, --sqlite and --namespace/],
    [['--import', MODULE, '--namespace', 'a'], {}, /leave out/],
    [['--redis-url', 'http://h'], {}, /must be redis:/],
    [['--redis-url', 'h:6379'], {}, /must be redis:/],
    [['--sqlite', 'a', '--timeout', '0'], {}, /whole number from 1 to 60000/],
    [['--sqlite', 'a', '--no-such'], {}, /unknown option '--no-such'/],
    [['--sqlite', 'a', 'more'], {}, /too many arguments/],
  ])('%j, %j: a wrong command line is 2', async (args, env, message) => {
    const { code, stdout, stderr } = await cli(['tasks', ...args], { env });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  test('errors are JSON with --json, on stderr', async () => {
    for (const args of [['tasks'], ['nonsense'], ['tasks', '--limit', 'x'], []]) {
      const { code, stdout, stderr } = await cli([...args, '--json']);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(failure.parse(JSON.parse(stderr)).error.code).toBe('INVALID_OPTION');
    }
  });

  test('without a command: the help, on stderr', async () => {
    const { code, stdout, stderr } = await cli([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/Usage: rekindle[\s\S]*doctor[\s\S]*rekindle: No command is given/);
    const help = await cli(['tasks', '--help']);
    expect(await cli(['help', 'tasks'])).toMatchObject({ code: 0, stdout: help.stdout, stderr: '' });
    expect(await cli(['help'])).toMatchObject({
      code: 0,
      stdout: (await cli(['--help'])).stdout,
      stderr: '',
    });
    const nothing = await cli(['help', 'nothing']);
    expect(nothing).toMatchObject({ code: 2, stdout: '' });
    expect(nothing.stderr).toMatch(/\nrekindle: There is no such command\. See: rekindle --help\n$/);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toMatch(/--status <status>/);
    expect(await cli(['--version'])).toMatchObject({ code: 0, stdout: '9.9.9\n', stderr: '' });
  });

  test('that nothing was ever written to is answered, and said', async () => {
    const ran = await cli(['tasks', '--sqlite', file, '--namespace', 'typo']);
    expect(ran).toMatchObject({ code: 0, stdout: '' });
    expect(ran.stderr).toBe(`There is nothing in ${file}, namespace typo yet.\nNo tasks.\n`);
    const json = await cli(['tasks', '--sqlite', file, '--namespace', 'typo', '--json']);
    expect(json).toMatchObject({ code: 0, stderr: '', json: { tasks: [], next: null } });
  });
});

test('what is no password of a Redis URL is printed, and what is one is not', async () => {
  const refused = await cli(['tasks', '--redis-url', 'redis://127.0.0.1:1']);
  expect(refused).toMatchObject({ code: 3, stdout: '' });
  expect(refused.stderr).toMatch(/^rekindle: Redis at redis:\/\/127\.0\.0\.1:1: connect ECONNREFUSED/);
  const hidden = await cli(['tasks', '--redis-url', 'redis://:s3cret@127.0.0.1:1']);
  expect(hidden.stderr).toMatch(/Redis at redis:\/\/127\.0\.0\.1:1: connect/);
  expect(hidden.stderr).not.toContain('s3cret');
  const wrong = await cli(['tasks', '--redis-url', 'http://h']);
  expect(wrong.stderr).toMatch(/must be redis:\/\/host\[:port\]\[\/db\]/);
});

test.each(['1000000000', '4097', '0', '1.5', 'many'])(
  'a meta record with %s partitions is refused',
  async (partitions) => {
    const path = join(tempFolder(), 'meta.db');
    const storage = sqliteStorage(path, { synchronous: 'OFF' });
    const { outcomes } = await storage.commit('rekindle:0', [
      {
        guard: { key: keys.meta, expect: null, next: '1.p.0' },
        notAfter: Number.MAX_SAFE_INTEGER,
        set: [{ key: keys.meta, fields: { layout: '1', partitions, hash: 'x' } }],
      },
    ]);
    expect(outcomes).toMatchObject([{ status: 'applied' }]);
    await storage.close();
    const ran = await cli(['tasks', '--json', '--sqlite', path]);
    expect(ran).toMatchObject({ code: 3, stdout: '' });
    const { code, message } = failure.parse(JSON.parse(ran.stderr)).error;
    expect(code).toBe('LAYOUT_MISMATCH');
    expect(message).toContain(`it has ${partitions} partitions, and the command line takes 1 to 4096.`);
  },
);

describe('a SQLite file', () => {
  test('that is not there is not made', async () => {
    const { code, stdout, stderr } = await cli(['tasks', '--sqlite', join(folder, 'typo.db')]);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(/there is no such file/);
    expect(readdirSync(folder).filter((name) => name.startsWith('typo'))).toEqual([]);
    expect((await cli(['tasks', '--sqlite', folder])).stderr).toMatch(/that is no file/);
  });

  test.each([
    ['empty.db', '', /a database, but not of rekindle/],
    ['text.db', 'no database at all. '.repeat(100), /not a database/],
  ])('that is somebody else’s is left as it is: %s', async (name, content, message) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    const { code, stderr } = await cli(['tasks', '--sqlite', path]);
    expect(code).toBe(3);
    expect(stderr).toMatch(message);
    expect(readFileSync(path, 'utf8')).toBe(content);
  });
});

describe('a module', () => {
  const importing = (source: string): Promise<Awaited<ReturnType<typeof cli>>> => {
    const path = join(folder, `module-${Math.random()}.mjs`);
    writeFileSync(path, source);
    return cli(['plan', '--import', relative(folder, path)], { cwd: folder });
  };

  test.each([
    ['export const other = 1;', /exports no Recovery/],
    ['export const recovery = { tasks: {} };', /exports no Recovery/],
    ['export const recovery = null;', /exports no Recovery/],
    [
      'throw new Error("no settings in redis://u:s3cret@h");',
      /could not be imported: no settings in redis:\/\/\*\*\*@h/,
    ],
    ['syntax error', /could not be imported/],
  ])('%s', async (source, message) => {
    const { code, stdout, stderr } = await importing(source);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });

  test('whose top level never ends', async () => {
    writeFileSync(join(folder, 'endless.mjs'), 'await new Promise(() => {});\n');
    const args = ['plan', '--timeout', '50', '--import', join(folder, 'endless.mjs')];
    const late = await cli(args);
    expect(late).toMatchObject({ code: 2, stdout: '' });
    expect(late.stderr).toMatch(/it is not loaded after 1000 ms: an await at its top level may never end/);
    const interrupted = await cli(args, { interrupt: (send) => queueMicrotask(() => send('SIGINT')) });
    expect(interrupted).toMatchObject({ code: 130, stdout: '', stderr: '' });
  });

  test('whose shutdown never ends', async () => {
    const recovery = createRecovery({ storage: memoryStorage() });
    const module = moduleOf({ ...recovery, shutdown: () => new Promise(() => {}) });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      let printed: () => void = () => {};
      const isPrinted = new Promise<void>((resolve) => (printed = resolve));
      const ending = cli(['tasks', '--json', '--import', module], { heard: () => printed() });
      await isPrinted;
      await vi.advanceTimersByTimeAsync(4_000);
      const { code, json, stderr } = await ending;
      expect({ code, json }).toEqual({ code: 1, json: { tasks: [], next: null } });
      expect(failure.parse(JSON.parse(stderr)).error.message).toMatch(/shutdown did not end within 4000 ms/);
    } finally {
      vi.useRealTimers();
      await recovery.shutdown();
    }
  });

  test('that is not there', async () => {
    const { code, stderr } = await cli(['plan', '--import', './nowhere.mjs'], { cwd: folder });
    expect(code).toBe(2);
    expect(stderr).toMatch(/nowhere\.mjs could not be imported/);
  });
});
