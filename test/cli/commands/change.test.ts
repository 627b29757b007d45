import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { cli, prepare, tempFolder, withRecovery } from '../cli.js';
import { documents, failure } from '../schemas.js';

let file = '';
beforeEach(async () => {
  file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, prepare, { partitions: 3 });
});

async function statusOf(taskId: string): Promise<unknown> {
  let status: unknown = null;
  const look = async ({ tasks }: Parameters<typeof prepare>[0]): Promise<void> => {
    status = (await tasks.get(taskId))?.status;
  };
  await withRecovery(file, look, { partitions: 3 });
  return status;
}

describe('requeue', () => {
  test('puts a task back into the recovery queue', async () => {
    const ran = await cli(['requeue', 'held-0', '--sqlite', file, '--json']);
    expect({ code: ran.code, stderr: ran.stderr }).toEqual({ code: 0, stderr: '' });
    expect(documents.requeue.parse(ran.json)).toEqual({ taskId: 'held-0', requeued: true });
    expect(await statusOf('held-0')).toBe('orphaned');
    const again = await cli(['requeue', 'bad-1', '--sqlite', file]);
    expect(again.stdout).toMatch(/^bad-1 is in the recovery queue/);
  });

  test.each([
    ['done', 'WRONG_STATE', 4],
    ['nobody', 'TASK_NOT_FOUND', 4],
    ['{}', 'INVALID_ID', 2],
  ])('%s: %s', async (id, code, exitCode) => {
    const ran = await cli(['requeue', id, '--sqlite', file, '--json']);
    expect(ran).toMatchObject({ code: exitCode, stdout: '' });
    expect(failure.parse(JSON.parse(ran.stderr))).toMatchObject({ error: { code } });
  });
});

describe('cancel', () => {
  test('ends a task, with a reason', async () => {
    const ran = await cli(['cancel', 'held-1', '--reason', 'no use', '--sqlite', file, '--json']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(documents.cancel.parse(ran.json)).toEqual({ taskId: 'held-1', outcome: 'cancelled' });
    expect(await statusOf('held-1')).toBe('cancelled');
    const { json } = await cli(['tasks', '--status', 'cancelled', '--sqlite', file, '--json']);
    const errors = documents.tasks.parse(json).tasks.map(({ error }) => error?.message);
    expect(errors).toContain('Task "held-1" was cancelled: no use.');
  });

  test('of one that had ended changes nothing, and is 4', async () => {
    const ran = await cli(['cancel', 'done', '--sqlite', file]);
    expect(ran).toMatchObject({ code: 4, stdout: 'done had ended before. Nothing was changed.\n' });
    expect(await statusOf('done')).toBe('completed');
    expect((await cli(['cancel', 'nobody', '--sqlite', file])).code).toBe(4);
  });
});
