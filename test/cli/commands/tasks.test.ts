import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { cli, prepare, tempFolder, withRecovery } from '../cli.js';
import { documents } from '../schemas.js';

let file = '';
beforeAll(async () => {
  file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, prepare, { partitions: 3 });
});

const TIME = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z';

describe('tasks', () => {
  test('a line a task on a pipe, with the names of the fields above', async () => {
    const { code, stdout, stderr } = await cli(['tasks', '--sqlite', file, '--status', 'failed']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [head, ...lines] = stdout.trimEnd().split('\n');
    expect(head).toBe('task\tname\tstatus\tattempt\tprogress\titems\tstep\tcrashes\tsince\terror');
    expect(lines.toSorted()).toEqual([
      expect.stringMatching(`^bad-1\tjob\tfailed\t1\t50%\t-\t-\t0\t${TIME}\tError: no rate for bad-1$`),
      expect.stringMatching(`^bad-2\tjob\tfailed\t1\t50%\t-\t-\t0\t${TIME}\tError: no rate for bad-2$`),
    ]);
  });

  test('--json: one document; --name, --limit and --after go through the pages', async () => {
    const ids: string[] = [];
    let after: string[] = [];
    for (let pages = 0; ; pages += 1) {
      expect(pages).toBeLessThan(9);
      const ran = await cli(['tasks', '--json', '--sqlite', file, '--name', 'job', '--limit', '2', ...after]);
      expect(ran.stderr).toBe('');
      const { tasks, next } = documents.tasks.parse(ran.json);
      ids.push(...tasks.map(({ taskId }) => taskId));
      if (next === null) break;
      after = ['--after', next];
    }
    expect(ids.toSorted()).toEqual(['bad-1', 'bad-2', 'done', 'held-0', 'held-1', 'held-2']);
  });

  test('--group: the tasks of one job', async () => {
    const grouped = join(tempFolder(), 'grouped.db');
    await withRecovery(grouped, async (recovery) => {
      const options = {
        name: 'page',
        taskId: (id: string) => id,
        group: (id: string) => id.slice(0, 1),
      };
      const page = recovery.withRecovery((_ctx, id: string) => id, options);
      for (const id of ['a1', 'b1', 'a2']) await page(id);
    });
    const ran = await cli(['tasks', '--json', '--group', 'a', '--sqlite', grouped]);
    expect(documents.tasks.parse(ran.json).tasks.map(({ taskId }) => taskId)).toEqual(['a1', 'a2']);
  });

  test('what there is more is said beside the list', async () => {
    const { stdout, stderr } = await cli(['tasks', '--sqlite', file, '--limit', '1']);
    expect(stdout.split('\n')).toHaveLength(3);
    expect(stderr).toMatch(/^More: --after \S+\n$/);
  });

  test('none is no error, and is said beside an empty stdout', async () => {
    const { code, stdout, stderr } = await cli(['tasks', '--sqlite', file, '--name', 'other']);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '', stderr: 'No tasks.\n' });
  });

  test.each([
    [['--status', 'lost'], /Allowed choices are pending, processing/],
    [['--limit', '0'], /whole number from 1 to 1000/],
    [['--limit', '1e3'], /whole number/],
    [['--after', 'nonsense'], /no cursor/],
    [['--group', 'a', '--name', 'job'], /group/],
  ])('%j is refused', async (args, message) => {
    const { code, stdout, stderr } = await cli(['tasks', '--sqlite', file, ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });
});
