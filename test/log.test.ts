/** What the library says about itself must not hold what its users gave it. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const CANARY = 'c4n4ry-s3cr3t';

it('debug output holds no payload, no result and no message of a user', () => {
  const program = `
    import { createRecovery, memoryStorage } from 'rekindle';
    const recovery = createRecovery({ storage: memoryStorage() });
    recovery.on('*', () => { throw new Error('${CANARY}'); });
    const task = recovery.withRecovery(async (ctx, text) => {
      await ctx.createCheckpoint({ name: 'a', progressPercent: 1, stepDescription: text, recoverableData: text, databaseState: text });
      if (ctx.attempt === 1) throw Object.assign(new Error(text), { code: text });
      return text;
    }, { name: 'n', taskId: () => 't' });
    await recovery.runStartupRecovery();
    await task('${CANARY}').catch(() => {});
    await task('${CANARY}');
    await recovery.shutdown();
  `;
  const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { ...process.env, DEBUG: 'rekindle:*' },
    encoding: 'utf8',
  });
  expect(status).toBe(0);
  expect(stderr).toContain('rekindle:recovery');
  expect(stderr).not.toContain(CANARY);
});
