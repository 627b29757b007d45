import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { cli, prepare, tempFolder, withRecovery } from '../cli.js';
import { documents } from '../schemas.js';

let file = '';
let fingerprint = '';
beforeAll(async () => {
  file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, prepare, { partitions: 3 });
  const { json } = await cli(['failures', '--group', '--sqlite', file, '--json']);
  fingerprint = documents.groups.parse(json).groups[0]?.fingerprint ?? '';
});

describe('failures', () => {
  test('--json lists documents, narrowed down', async () => {
    const list = async (...args: string[]): Promise<string[]> => {
      const { json, code } = await cli(['failures', '--sqlite', file, '--json', ...args]);
      expect(code).toBe(0);
      return documents.failures.parse(json).documents.map(({ documentPath }) => documentPath);
    };
    expect((await list()).toSorted()).toEqual(['/in/bad-1.pdf', '/in/bad-2.pdf']);
    expect(await list('--fingerprint', fingerprint, '--name', 'job')).toHaveLength(2);
    expect(await list('--fingerprint', 'other')).toEqual([]);
    expect(await list('--category', 'network')).toEqual([]);
    expect(await list('--name', 'other')).toEqual([]);
  });

  test('the pages of a list', async () => {
    const first = await cli(['failures', '--sqlite', file, '--json', '--limit', '1']);
    const { documents: one, next } = documents.failures.parse(first.json);
    const second = await cli(['failures', '--sqlite', file, '--json', '--after', next ?? '']);
    const { documents: two } = documents.failures.parse(second.json);
    expect([...one, ...two].map(({ taskId }) => taskId).toSorted()).toEqual(['bad-1', 'bad-2']);
  });

  test('on a pipe', async () => {
    const { stdout } = await cli(['failures', '--sqlite', file]);
    const [head, ...lines] = stdout.trimEnd().split('\n');
    expect(head?.split('\t')).toEqual([
      'task',
      'name',
      'document',
      'status',
      'category',
      'fingerprint',
      'retries',
      'failed',
      'error',
    ]);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain(`\t${fingerprint}\t0\t`);
    const groups = await cli(['failures', '--group', '--sqlite', file]);
    expect(groups.stdout).toMatch(/^count\tfingerprint\tcategory\tnewest\tframe\terror\n2\t/);
    const none = await cli(['failures', '--name', 'other', '--sqlite', file]);
    expect(none).toMatchObject({ code: 0, stdout: '', stderr: 'No failed documents.\n' });
  });
});

describe('redrive without functions', () => {
  test('of a group that is not there is 4, and says where to look', async () => {
    const { code, stdout, stderr } = await cli(['redrive', 'nonsense', '--sqlite', file]);
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toMatch(/no failed document with the fingerprint "nonsense".*failures --group/);
  });

  test('puts the group back into the recovery queue, those that are not there already', async () => {
    const ran = await cli(['redrive', fingerprint, '--sqlite', file, '--json']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(documents.redrive.parse(ran.json)).toEqual({
      kind: 'requeued',
      fingerprint,
      found: 2,
      requeued: 2,
    });
    const { json } = await cli(['tasks', '--status', 'orphaned', '--sqlite', file, '--json']);
    const { tasks } = documents.tasks.parse(json);
    const requeued = tasks.filter(({ orphanCause }) => orphanCause === 'requeued');
    expect(requeued.map(({ taskId }) => taskId).toSorted()).toEqual(['bad-1', 'bad-2']);
    const again = await cli(['redrive', fingerprint, '--sqlite', file]);
    expect(again.stdout).toMatch(/^0 of 2 documents are in the recovery queue/);
  });
});
