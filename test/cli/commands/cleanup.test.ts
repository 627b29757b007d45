import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cli, prepare, tempFolder, withRecovery } from '../cli.js';
import { documents } from '../schemas.js';

describe('cleanup', () => {
  test('needs to be told what is too old', async () => {
    const ran = await cli(['cleanup', '--sqlite', 'not-even-opened.db']);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toMatch(/--import \.\/tasks\.js, or --older-than <days>/);
    const both = await cli(['cleanup', '--import', './a.mjs', '--older-than', '3']);
    expect(both.code).toBe(2);
  });

  test('removes nothing that is younger', async () => {
    const file = join(tempFolder(), 'tasks.db');
    await withRecovery(file, prepare, { partitions: 3 });
    const ran = await cli(['cleanup', '--older-than', '1', '--json', '--sqlite', file]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(documents.cleanup.parse(ran.json)).toMatchObject({
      completed: 0,
      failed: 0,
      cancelled: 0,
      more: false,
    });
    const { stdout } = await cli(['cleanup', '--older-than', '1', '--sqlite', file]);
    expect(stdout).toMatch(/^removed 0 tasks: 0 completed, 0 cancelled/);
  });
});
