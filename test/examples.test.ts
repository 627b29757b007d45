/** The examples and the demo, as a user runs them: processes of their own, on the built package. */
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

let place = '';
beforeAll(() => {
  expect(existsSync('dist/index.js'), 'The examples run on the built package: npm run build').toBe(true);
  place = mkdtempSync(join(tmpdir(), 'rekindle-examples-'));
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

/** What the examples leave in their temp folder. */
let temp = '';
function newTemp(): string {
  temp = mkdtempSync(join(place, 'temp-'));
  return temp;
}

function run(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; at?: string; act?: (pid: number) => void } = {},
): Promise<Ended> {
  const env = { ...process.env, TMPDIR: newTemp(), ...options.env };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let acted = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (options.at === undefined || acted || !output.includes(options.at)) return;
      acted = true;
      options.act?.(child.pid ?? 0);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

describe('examples', () => {
  test('quick-start.mjs runs a task once', async () => {
    const { code, output } = await run(['examples/quick-start.mjs']);
    expect(output).toContain('first call: THE TEXT OF DOCUMENT-1');
    expect(output).toContain('second call, from the kept result: THE TEXT OF DOCUMENT-1');
    expect(code).toBe(0);
    expect(readdirSync(temp)).toEqual([]);
  });

  test('checkpoints.mjs goes on behind its checkpoint after SIGKILL', async () => {
    const { code, output } = await run(['examples/checkpoints.mjs']);
    const [before = '', after = ''] = output.split('Second run');
    expect(before).toContain('the process ended: SIGKILL');
    expect(after).toContain('attempt 2, from checkpoint: one');
    expect(after).not.toContain('importing chapter one');
    expect(after).toContain("[ 'chapter one', 'chapter two', 'chapter three' ]");
    expect(code).toBe(0);
    expect(readdirSync(temp)).toEqual([]);
  });

  test('steps.mjs runs only the rest of a map after SIGKILL', async () => {
    const { code, output } = await run(['examples/steps.mjs']);
    const [before = '', after = ''] = output.split('Second run');
    expect(before.match(/analysing page \w+/g)).toEqual(
      ['one', 'two', 'three'].map((page) => `analysing page ${page}`),
    );
    expect(before).toContain('the process ended: SIGKILL');
    expect(after).not.toContain('extracting');
    expect(after.match(/analysing page \w+/g)).toEqual(['analysing page three', 'analysing page four']);
    expect(after).toContain('result: 15');
    expect(code).toBe(0);
    expect(readdirSync(temp)).toEqual([]);
  });

  test('plan.mjs tells what recovery will do, and then does it', async () => {
    const { code, output } = await run(['examples/plan.mjs']);
    expect(output).toContain(
      'monthly: resume (checkpoint-resume): Resumes from checkpoint "rendered" at 60 %.',
    );
    expect(output).toContain('weekly: restart (clean-restart)');
    expect(output).toContain('sending the monthly report, from "rendered"');
    expect(output).toContain('recovered: 2');
    expect(code).toBe(0);
  });

  test('poison.mjs finds the task that kills its process, and puts it back once it is mended', async () => {
    const { code, output } = await run(['examples/poison.mjs']);
    const [before = '', after = ''] = output.split('Mended, and put back');
    expect(before.match(/the process ended: SIGABRT/g)?.length).toBeGreaterThanOrEqual(3);
    expect(before).toMatch(/dead letter: broken\.png\. It crashed \d times within 72 h; the budget is 3/);
    expect(before).toContain('at step "decode", suspects in its process: 1');
    expect(before).not.toMatch(/dead letter: (one|two)/);
    expect(before).toContain('"completed":2');
    expect(after).toContain('"completed":3');
    expect(output).toMatch(/the process ended: code 0\s*$/);
    expect(code).toBe(0);
    expect(readdirSync(temp)).toEqual([]);
  });

  // These assert for themselves.
  test.each([
    ['user-context.mjs', 'export-1 for acme written'],
    ['input-schema.mjs', 'on recovery: failed The input of "resize" does not fit its schema: width'],
    ['versions.mjs', 'a, 7, resumed; b, 7, resumed'],
    ['limits.mjs', 'alert: signal_ignored deaf-1'],
    ['codec.mjs', 'old key gone: CODEC_FAILED'],
    ['shutdown.mjs', 'the process ended: SIGTERM'],
    ['cancel.mjs', 'afterwards: cancelled'],
    ['observability.mjs', 'the second attempt is linked to the first one'],
    ['http.mjs', 'monthly: completed after task_started, '],
    ['failed-documents.mjs', 'left: 6, given up: 6'],
    ['queue.mjs', 'in/7.txt completed'],
    ['failed-documents-cron.mjs', '1 of 2 documents done, 1 failed again'],
  ])('%s does what it says', async (name, words) => {
    const { code, output } = await run([`examples/${name}`]);
    expect(output).toContain(words);
    expect(code, output).toBe(0);
    expect(readdirSync(temp)).toEqual([]);
  });

  test.each([
    ['document.test.mjs', 2],
    ['payment.test.mjs', 3],
    ['import.test.mjs', 2],
  ])('testing/%s finds its bugs, and none in the task itself', async (name, count) => {
    const { code, output } = await run(['--test', '--test-reporter=tap', `examples/testing/${name}`]);
    expect(output).toMatch(new RegExp(`^# pass ${count}$`, 'm'));
    expect(output).toMatch(/^# fail 0$/m);
    expect(code, output).toBe(0);
    expect(readdirSync(temp)).toEqual([]);
  });

  test('every example is run here', () => {
    const here = readFileSync('test/examples.test.ts', 'utf8');
    const names = [
      ...readdirSync('examples').filter((each) => each.endsWith('.mjs')),
      ...readdirSync('examples/testing').filter((each) => each.endsWith('.test.mjs')),
    ];
    for (const name of names) expect(here).toContain(name);
  });
});

function documentsIn(folder: string, count: number): string {
  for (let n = 1; n <= count; n += 1) {
    // A few of them with the same text, in a folder of their own, or with a name that no id can have.
    const name = n % 10 === 0 ? `{braces} ${n}.md` : n % 7 === 0 ? `deeper/${n}.md` : `${n}.md`;
    const file = join(folder, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `# Document ${n % 5}\n\nSome [words](https://example.com) of document ${n % 5}.\n`);
  }
  return folder;
}

function figure(output: string, label: string): number {
  const match = new RegExp(`${label}\\s+(\\d+)`).exec(output);
  expect(match, `"${label}" in\n${output}`).not.toBeNull();
  return Number(match?.[1]);
}

describe('demo', () => {
  const DEMO = 'examples/demo/main.mjs';

  test.each([
    { storage: 'SQLite', flags: [] },
    { storage: 'Redis', flags: ['--redis'] },
  ])('loses nothing on $storage, and begins at most those in hand twice', async ({ storage, flags }) => {
    const folder = documentsIn(mkdtempSync(join(place, 'documents-')), 30);
    const { code, output } = await run([DEMO, ...flags, folder]);
    expect(output).toContain(`storage       ${storage}`);
    expect(output).toMatch(/kill -9 \d+: \d+ done, \d+ in hand/);
    const inHand = figure(output, 'documents in hand when it was killed');
    expect(inHand).toBeGreaterThan(0);
    expect(inHand).toBeLessThanOrEqual(10);
    expect(figure(output, 'documents begun twice')).toBeLessThanOrEqual(inHand);
    expect(figure(output, 'documents begun twice')).toBeGreaterThan(0);
    expect(figure(output, 'stages run twice')).toBeLessThanOrEqual(inHand);
    expect(figure(output, 'documents lost')).toBe(0);
    expect(output).toContain('30 of 30');
    // Far below the lease of 15 s: it was not waited for.
    expect(figure(output, 'first one going again, from start of process')).toBeLessThan(10_000);
    expect(code).toBe(0);
    expect(readdirSync(temp)).toEqual([]);
  });

  test('a document that cannot be processed is told, and the demo fails', async () => {
    const folder = documentsIn(mkdtempSync(join(place, 'documents-')), 40);
    // The last one in the order of names: taken away while the first ones are worked on.
    writeFileSync(join(folder, '~last.md'), 'soon gone');
    const act = (): void => rmSync(join(folder, '~last.md'));
    const { code, output } = await run([DEMO, folder], { at: 'first worker', act });
    expect(figure(output, 'documents lost')).toBe(1);
    expect(output).toMatch(/failed: ~last\.md: ENOENT/);
    expect(code).toBe(1);
    expect(readdirSync(temp)).toEqual([]);
  });

  test('an empty folder, a missing one and a file are told apart', async () => {
    const empty = mkdtempSync(join(place, 'empty-'));
    const cases = [
      [empty, 'There are no files under'],
      [join(empty, 'missing'), 'There is no folder'],
      ['package.json', 'is no folder'],
    ] as const;
    for (const [folder, words] of cases) {
      const { code, output } = await run([DEMO, folder]);
      expect(output).toContain(words);
      expect(code).toBe(1);
    }
  });

  test('without redis-server it says how to install it', async () => {
    const nowhere = mkdtempSync(join(place, 'path-'));
    const folder = documentsIn(mkdtempSync(join(place, 'documents-')), 1);
    const { code, output } = await run([DEMO, '--redis', folder], { env: { PATH: nowhere } });
    expect(output).toContain('sudo apt-get install -y redis-server');
    expect(code).toBe(1);
    expect(readdirSync(temp)).toEqual([]);
  });

  test.each([{ flags: [] }, { flags: ['--redis'] }])(
    'SIGINT ends it and leaves nothing behind $flags',
    async ({ flags }) => {
      const folder = documentsIn(mkdtempSync(join(place, 'documents-')), 200);
      const { code, output } = await run([DEMO, ...flags, folder], {
        at: 'first worker',
        act: (pid) => process.kill(pid, 'SIGINT'),
      });
      expect(code).toBe(130);
      expect(readdirSync(temp)).toEqual([]);
      const redis = /redis-server {2}pid (\d+)/.exec(output)?.[1];
      expect(redis !== undefined).toBe(flags.length > 0);
      if (redis !== undefined) expect(() => process.kill(Number(redis), 0)).toThrow('ESRCH');
    },
  );
});
