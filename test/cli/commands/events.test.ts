import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { jobOf, cli, prepare, tempFolder, withRecovery } from '../cli.js';
import { event } from '../schemas.js';

let file = '';
beforeAll(async () => {
  file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, prepare, { partitions: 3 });
});

describe('events', () => {
  test('a JSON line each, and what is behind a cursor', async () => {
    const { code, stdout, stderr } = await cli(['events', '--json', '--sqlite', file]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => event.parse(JSON.parse(line)));
    expect(events.filter((each) => each.event === 'task_started')).toHaveLength(6);
    const { cursor } = events.at(-3) ?? {};
    const rest = await cli(['events', '--json', '--sqlite', file, '--after', cursor ?? '']);
    expect(rest.stdout).toBe(`${stdout.trimEnd().split('\n').slice(-2).join('\n')}\n`);
    expect((await cli(['events', '--sqlite', file, '--after', 'nonsense'])).code).toBe(2);
  });

  test('a line each, with its details', async () => {
    const { stdout } = await cli(['events', '--sqlite', file]);
    expect(stdout).toMatch(/Z\ttask_failed\tjob\tbad-1\tattempt=1 error_name=Error error_code=E_RATE\n/);
  });

  test('--limit: the newest; --task: of one; both together, and on with --follow', async () => {
    const all = (await cli(['events', '--json', '--sqlite', file])).stdout.trimEnd().split('\n');
    const three = await cli(['events', '--json', '--limit', '3', '--sqlite', file]);
    expect(three.stdout.trimEnd().split('\n')).toEqual(all.slice(-3));
    const most = await cli(['events', '--json', '--limit', '10000', '--sqlite', file]);
    expect(most.stdout.trimEnd().split('\n')).toEqual(all);
    const own = await cli(['events', '--task', 'bad-1', '--sqlite', file]);
    expect(own.stdout).toMatch(/^\S+\ttask_started\tjob\tbad-1\t.*\n\S+\ttask_failed\tjob\tbad-1\t.*\n$/);
    let send: ((signal: 'SIGINT' | 'SIGTERM') => void) | null = null;
    const last = await cli(['events', '--follow', '--task', 'bad-1', '--limit', '1', '--sqlite', file], {
      interrupt: (given) => void (send = given),
      heard: () => send?.('SIGINT'),
    });
    expect(last).toMatchObject({ code: 130, stdout: `${own.stdout.split('\n')[1]}\n` });
    expect((await cli(['events', '--limit', '0', '--sqlite', file])).code).toBe(2);
  });

  test('names above, on a terminal', async () => {
    const { stdout } = await cli(['events', '--limit', '1', '--sqlite', file], { terminal: true });
    expect(stdout).toMatch(/^time\tevent\tname\ttask\tdetails\n\d.*\n$/);
    const json = await cli(['events', '--json', '--limit', '1', '--sqlite', file], { terminal: true });
    expect(event.parse(json.json)).toBeDefined();
  });

  test('--follow tells what comes, until it is interrupted', async () => {
    const own = join(tempFolder(), 'own.db');
    await withRecovery(own, prepare);
    let send: ((signal: 'SIGINT' | 'SIGTERM') => void) | null = null;
    const ran = await cli(['events', '--follow', '--sqlite', own], {
      interrupt: (given) => void (send = given),
      heard: (text) => {
        if (text.includes('task_completed\tjob\tdone')) {
          void withRecovery(own, (recovery) => jobOf(recovery)('late'));
        }
        if (text.includes('task_completed\tjob\tlate')) send?.('SIGINT');
      },
    });
    expect(ran).toMatchObject({ code: 130, stderr: '' });
    expect(ran.stdout).toMatch(/task_completed\tjob\tlate\t.*\n$/);
  });
});
