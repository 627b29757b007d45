/** Every command that docs/cli.md shows, run as it stands there. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cli, untilAborted, withRecovery } from '../cli/cli.js';
import { documents } from '../cli/schemas.js';
import { CLI, CommandProcess } from './support/cli-process.js';

const TEXT = readFileSync('docs/cli.md', 'utf8');
/** Stands for a fingerprint that there is. */
const FINGERPRINT = 'u3k9fPq2sVbXw1Ze';
const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;

const blocks = (language: string): string[] =>
  [...TEXT.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(([, code = '']) => code);
const COMMANDS = blocks('sh')
  .flatMap((block) => block.split('\n'))
  .filter((line) => /^(npx )?rekindle /.test(line));

let folder = '';
beforeAll(async () => {
  // Inside of the project, so that `rekindle` is found by its name.
  mkdirSync('temp', { recursive: true });
  folder = resolve(mkdtempSync('temp/cli-'));
  const file = join(folder, 'tasks.db');
  await withRecovery(file, async (recovery) => {
    const invoice = recovery.withRecovery(
      async (ctx, id: string) => {
        await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
        if (id === 'invoice-7') throw new Error(`no tax rate for ${id}`);
        if (id === 'invoice-8') await untilAborted(ctx.signal);
      },
      { name: 'invoice', taskId: (id) => id, document: (id) => `/in/${id}.json` },
    );
    await invoice('invoice-9');
    await invoice('invoice-7').catch(() => {});
    const { result } = await invoice.start('invoice-8');
    result.catch(() => {});
  });
  writeFileSync(join(folder, 'tasks.js'), blocks('js')[0] ?? '');
});

/** The fingerprint of a document that has just failed. */
async function failedAnew(): Promise<string> {
  const file = join(folder, 'tasks.db');
  const report = { documentPath: '/in/anew.json', name: 'invoice', error: new Error('no tax rate') };
  await withRecovery(file, (recovery) => recovery.failures.record(report));
  const { json } = await cli(['failures', '--group', '--sqlite', file, '--json']);
  return documents.groups.parse(json).groups.find(({ count }) => count === 1)?.fingerprint ?? '';
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the table that it shows is what `tasks` prints', async () => {
  const { stdout } = await cli(['tasks', '--sqlite', join(folder, 'tasks.db')], {
    terminal: true,
    env: { NO_COLOR: '1' },
  });
  expect(stdout.replaceAll(TIME, '2026-01-01T00:00:00.000Z').trimEnd()).toBe(blocks('text')[0]?.trimEnd());
});

test('the commands run, in their order', async () => {
  const programs = ['status', 'tasks', 'task', 'failures', 'events', 'plan', 'doctor'];
  const deeds = ['requeue', 'redrive', 'cancel', 'cleanup', 'recover'];
  const shown = new Set(COMMANDS.map((line) => /rekindle (\w+)/.exec(line)?.[1] ?? ''));
  expect([...shown].toSorted()).toEqual([...programs, ...deeds].toSorted());
  for (const command of COMMANDS) {
    const fingerprint = command.includes(FINGERPRINT) ? await failedAnew() : '';
    const line = command.replace('npx ', '').replace(FINGERPRINT, fingerprint);
    const script = `cd '${folder}'; rekindle() { '${process.execPath}' '${CLI}' "$@"; }; ${line}`;
    // A module has a storage of its own; the environment does not get in its way.
    const run = new CommandProcess('bash', ['-c', script], { REKINDLE_SQLITE: 'tasks.db' });
    const { code, stderr } = await run.ended;
    // There are orphans and no worker, which is what doctor is for.
    expect({ line, code, stderr }).toMatchObject({ line, code: line.startsWith('rekindle doctor') ? 1 : 0 });
  }
}, 60_000);

test('it tells of every exit code, and of every command', async () => {
  const { stdout } = await cli(['--help']);
  const commands = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name = '']) => name);
  expect(commands.length).toBeGreaterThan(11);
  for (const name of commands) expect(TEXT).toContain(`\`${name}`);
  for (const code of [0, 1, 2, 3, 4, '130, 143']) expect(TEXT).toMatch(new RegExp(`^\\| ${code} +\\|`, 'm'));
});
