import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { cli, prepare, tempFolder, withRecovery } from './cli.js';
import { documents } from './schemas.js';

const EVIL = 'job\u009b2J';
let file = '';
beforeAll(async () => {
  file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, async (recovery) => {
    await prepare(recovery);
    const evil = recovery.withRecovery(
      () => {
        throw new Error('\u001b]0;title\u0007\u001b[2J at redis://u:s3cret@host\n\tand more');
      },
      { name: EVIL, taskId: () => `id\u009b31m\u202e` },
    );
    await evil().catch(() => {});
  });
});

/** Escape sequences of colours, which are the only ones there may be. */
const COLOURS = new RegExp(`${String.fromCodePoint(27)}\\[\\d+m`, 'g');
const CONTROLS = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u;

describe('on a terminal', () => {
  test('a table with colours', async () => {
    const { stdout } = await cli(['tasks', '--sqlite', file], { terminal: true });
    expect(stdout).toContain('\u001b[31mfailed\u001b[39m');
    expect(stdout).toContain('\u001b[32mcompleted\u001b[39m');
    const [head, ...lines] = stdout.replaceAll(COLOURS, '').trimEnd().split('\n');
    // In columns.
    const at = head?.indexOf('status') ?? -1;
    expect(lines.every((line) => /^(completed|failed|cancelled|orphaned)/.test(line.slice(at)))).toBe(true);
  });

  test.each([{ NO_COLOR: '1' }, { TERM: 'dumb' }])('without colours: %j', async (env) => {
    const { stdout } = await cli(['tasks', '--sqlite', file], { terminal: true, env });
    expect(stdout.replaceAll('\n', '')).not.toMatch(CONTROLS);
    expect(stdout).toContain('completed');
  });

  test.each([['tasks'], ['failures'], ['failures', '--group'], ['plan'], ['events']])(
    '%s %s: what the storage says gives no orders, and no passwords away',
    async (...args) => {
      for (const terminal of [true, false]) {
        const { stdout, stderr } = await cli([...args, '--sqlite', file], { terminal });
        const said = `${stdout}${stderr}`.replaceAll(COLOURS, '');
        expect(said.replaceAll(/[\n\t]/g, '')).not.toMatch(CONTROLS);
        expect(said).not.toContain('s3cret');
      }
    },
  );

  test('in JSON the texts are the same, without control characters', async () => {
    const ran = await cli(['tasks', '--json', '--name', EVIL, '--sqlite', file], { terminal: true });
    expect(ran.stdout.replaceAll('\n', '')).not.toMatch(CONTROLS);
    const [task] = documents.tasks.parse(ran.json).tasks;
    expect(task).toMatchObject({ taskId: 'id\u009b31m\u202e', name: EVIL });
    expect(task?.error?.message).toBe('\u001b]0;title\u0007\u001b[2J at redis://u:***@host\n\tand more');
  });

  test('one line of a pipe is one task, whatever is in it', async () => {
    const { stdout } = await cli(['tasks', '--name', EVIL, '--sqlite', file]);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[1]?.split('\t')).toHaveLength(10);
  });

  test('--json is one line on a pipe, and indented on a terminal', async () => {
    const one = await cli(['tasks', '--json', '--sqlite', file]);
    expect(one.stdout.split('\n')).toHaveLength(2);
    const many = await cli(['tasks', '--json', '--sqlite', file], { terminal: true });
    expect(many.stdout.split('\n').length).toBeGreaterThan(20);
    expect(many.json).toEqual(one.json);
  });
});
