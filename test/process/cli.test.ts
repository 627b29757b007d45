/** The command line as a process, on SQLite and on a real Redis behind a password. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { redisStorage } from '../../src/storage/redis.js';
import { prepare, tempFolder, withRecovery } from '../cli/cli.js';
import { documents, event, failure } from '../cli/schemas.js';
import { redisCommand, startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { CLI, CommandProcess, endCommands, rekindle } from './support/cli-process.js';
import type { Ended } from './support/cli-process.js';

const MODULE = fileURLToPath(new URL('../fixtures/cli-tasks.mjs', import.meta.url));
const PASSWORD = 'sw0rdfish-of-the-ops';
const NAMESPACE = 'ops';

let server: RedisServer;
let places = 0;
beforeAll(async () => {
  server = await startRedis({ appendonly: 'always' });
  await redisCommand(server.port, ['ACL', 'SETUSER', 'ops', 'on', `>${PASSWORD}`, '~*', '&*', '+@all']);
});
afterAll(() => server.stop());
afterEach(endCommands);

/** Where a namespace is: arguments that name it, and the environment of its module. */
interface Place {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

async function sqlitePlace(): Promise<Place> {
  const file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, prepare, { partitions: 3, namespace: NAMESPACE });
  return {
    args: ['--sqlite', file, '--namespace', NAMESPACE],
    env: { CLI_SQLITE: file, CLI_NAMESPACE: NAMESPACE },
  };
}

async function redisPlace(): Promise<Place> {
  places += 1;
  const namespace = `${NAMESPACE}-${places}`;
  const client = new Redis(server.port);
  const recovery = createRecovery({ storage: redisStorage(client, { partitions: 3 }), namespace });
  await prepare(recovery);
  await recovery.shutdown({ timeoutMs: 300 });
  client.disconnect();
  const url = redisUrl();
  return {
    args: ['--redis-url', url, '--namespace', namespace],
    env: { CLI_REDIS: url, CLI_NAMESPACE: namespace },
  };
}

function redisUrl(password = PASSWORD, port = server.port): string {
  return `redis://ops:${password}@127.0.0.1:${port}`;
}

function parsed<T>(schema: z.ZodType<T>, { stdout, stderr, code }: Ended, expected = 0): T {
  expect({ code, stderr }).toEqual({ code: expected, stderr: '' });
  return schema.parse(JSON.parse(stdout));
}

const KINDS = [
  ['sqlite', sqlitePlace],
  ['redis', redisPlace],
] as const;

describe.each(KINDS)('%s', (_, prepared) => {
  test('each command that looks, as JSON to its schema', async () => {
    const { args } = await prepared();
    const json = (...command: string[]): Promise<Ended> => rekindle([...command, ...args, '--json']);
    const [status, tasks, task, plan] = await Promise.all(
      [['status'], ['tasks'], ['task', 'bad-1'], ['plan']].map((command) => json(...command)),
    );
    expect(parsed(documents.status, status!).metrics.task_state_distribution).toMatchObject({ orphaned: 2 });
    expect(parsed(documents.tasks, tasks!).tasks).toHaveLength(6);
    expect(parsed(documents.task, task!).history.attempts).toHaveLength(1);
    expect(parsed(documents.plan, plan!).tasks).toHaveLength(2);
    const [failures, groups, events, doctor] = await Promise.all(
      [['failures'], ['failures', '--group'], ['events'], ['doctor']].map((command) => json(...command)),
    );
    expect(parsed(documents.failures, failures!).documents).toHaveLength(2);
    expect(parsed(documents.groups, groups!).groups).toMatchObject([{ count: 2 }]);
    const lines = events!.stdout.trimEnd().split('\n');
    expect(lines.map((line) => event.parse(JSON.parse(line)).event)).toContain('task_completed');
    // Nobody is there for the orphans.
    expect(parsed(documents.doctor, doctor!, 1)).toMatchObject({ healthy: false });
  });

  test('each command that changes something, as JSON to its schema', async () => {
    const { args, env } = await prepared();
    const json = (...command: string[]): Promise<Ended> => rekindle([...command, ...args, '--json']);
    const mended = { ...env, CLI_MENDED: '1' };
    const [requeue, cancel] = await Promise.all([
      json('requeue', 'held-0'),
      json('cancel', 'held-2', '--reason', 'no use'),
    ]);
    expect(parsed(documents.requeue, requeue)).toEqual({ taskId: 'held-0', requeued: true });
    expect(parsed(documents.cancel, cancel)).toEqual({ taskId: 'held-2', outcome: 'cancelled' });
    const recover = await rekindle(['recover', '--import', MODULE, '--json'], mended);
    expect(parsed(documents.recover, recover)).toMatchObject({ kind: 'tasks', report: { recovered: 2 } });
    const again = await rekindle(['recover', '--documents', '--import', MODULE, '--json'], env);
    expect(parsed(documents.recover, again, 1)).toMatchObject({ kind: 'documents', report: { failed: 2 } });
    const { groups } = parsed(documents.groups, await json('failures', '--group'));
    const { fingerprint = '' } = groups[0] ?? {};
    const redrive = await rekindle(['redrive', fingerprint, '--import', MODULE, '--json'], env);
    expect(parsed(documents.redrive, redrive, 1)).toMatchObject({ kind: 'documents', report: { found: 2 } });
    const requeued = await json('redrive', fingerprint);
    expect(parsed(documents.redrive, requeued)).toMatchObject({ kind: 'requeued', requeued: 2 });
    const young = await json('cleanup', '--older-than', '1');
    expect(parsed(documents.cleanup, young)).toMatchObject({ completed: 0, more: false });
    const old = { ...env, CLI_RETENTION_MS: '1' };
    const cleanup = await rekindle(['cleanup', '--limit', '2', '--import', MODULE, '--json'], old);
    expect(parsed(documents.cleanup, cleanup)).toMatchObject({ completed: 2, more: true });
  });

  test('a follow that is interrupted ends with 130, and one that is told to end with 143', async () => {
    const { args } = await prepared();
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const following = new CommandProcess(process.execPath, [CLI, 'events', '--follow', '--json', ...args]);
      await following.said('task_cancelled');
      following.signal(signal);
      const ended = await following.ended;
      expect(ended).toMatchObject({ code, signal: null, stderr: '' });
      for (const line of ended.stdout.trimEnd().split('\n')) event.parse(JSON.parse(line));
    }
  });

  test('a recovery that is interrupted gives its tasks back', async () => {
    const { args, env } = await prepared();
    const verbose = ['recover', '--import', MODULE, '--json', '--verbose'];
    const recovering = new CommandProcess(process.execPath, [CLI, ...verbose], {
      ...env,
      CLI_TELLS: '1',
    });
    await recovering.said('held-1 runs');
    await recovering.said('held-2 runs');
    recovering.signal('SIGINT');
    const ended = await recovering.ended;
    expect(ended).toMatchObject({ code: 130, signal: null });
    expect(documents.recover.parse(JSON.parse(ended.stdout))).toMatchObject({
      report: { tasks: [{ outcome: 'released' }, { outcome: 'released' }] },
    });
    expect(ended.stdout + ended.stderr).not.toContain(PASSWORD);
    const { tasks } = parsed(
      documents.tasks,
      await rekindle(['tasks', '--json', '--status', 'orphaned', ...args]),
    );
    expect(tasks).toMatchObject([
      { orphanCause: 'released', crashes: [] },
      { orphanCause: 'released', crashes: [] },
    ]);
  });
});

describe('what can go wrong', () => {
  /** A server that does not answer must not keep anybody waiting for longer. */
  const PATIENCE_MS = 5_000;

  async function endsInTime(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
    const startedMs = performance.now();
    const ended = await rekindle(args, env);
    expect(performance.now() - startedMs).toBeLessThan(PATIENCE_MS);
    expect(ended.stdout).toBe('');
    expect(ended.stderr).not.toContain(PASSWORD);
    return ended;
  }

  test('no server: 3 within 5 s, with the place and the reason, without the password', async () => {
    const [gone, frozen] = await Promise.all([startRedis(), startRedis()]);
    await gone.stop();
    // It takes connections, and says nothing.
    frozen.pause();
    const url = redisUrl(PASSWORD, gone.port);
    try {
      const [refused, json, module, silent] = await Promise.all([
        endsInTime(['status', '--redis-url', url]),
        endsInTime(['doctor', '--json'], { REKINDLE_REDIS_URL: url }),
        endsInTime(['status', '--import', MODULE], { CLI_REDIS: url }),
        endsInTime(['tasks', '--redis-url', redisUrl(PASSWORD, frozen.port)]),
      ]);
      expect(refused).toMatchObject({ code: 3, signal: null });
      expect(refused.stderr).toBe(
        `rekindle: Redis at redis://127.0.0.1:${gone.port}: connect ECONNREFUSED 127.0.0.1:${gone.port}\n`,
      );
      expect(json.code).toBe(3);
      expect(failure.parse(JSON.parse(json.stderr)).error.code).toBe('STORAGE_UNAVAILABLE');
      expect(module.code).toBe(3);
      expect(module.stderr).toMatch(
        /^rekindle: The storage of .*cli-tasks\.mjs: no answer within 2000 ms\n$/,
      );
      expect(silent.code).toBe(3);
      expect(silent.stderr).toMatch(/no answer within 2000 ms/);
    } finally {
      frozen.resume();
      await frozen.stop();
    }
  });

  test('no password is printed: a wrong one, one that breaks its URL, and with all debug output there is', async () => {
    const debug = { DEBUG: '*' };
    const wrong = await endsInTime(['tasks', '--verbose', '--redis-url', redisUrl(`not-${PASSWORD}`)], debug);
    expect(wrong.code).toBe(3);
    expect(wrong.stderr).toMatch(/WRONGPASS/);
    for (const url of [`redis://ops:12/${PASSWORD}@h`, `http://ops:${PASSWORD}@h`, `ops:${PASSWORD}@h:1`]) {
      expect((await endsInTime(['tasks', '--redis-url', url])).code).toBe(2);
    }
    // In the wrong place it is an argument like any other, and still not repeated.
    expect((await endsInTime([redisUrl()])).code).toBe(2);
    const { args } = await redisPlace();
    const right = await rekindle(['status', '--verbose', '--json', ...args], debug);
    expect(right.code).toBe(0);
    expect(right.stderr).toContain('rekindle:storage');
    expect(right.stdout + right.stderr).not.toContain(PASSWORD);
    documents.status.parse(JSON.parse(right.stdout));
  });

  test('a module that logs gets nothing between the answer', async () => {
    for (const json of [true, false]) {
      const { env } = await sqlitePlace();
      const args = ['recover', '--import', MODULE, ...(json ? ['--json'] : [])];
      const ended = await rekindle(args, { ...env, CLI_MENDED: '1', CLI_LOGS: '1' });
      expect(ended.code).toBe(0);
      expect(ended.stderr).toMatch(/rekindle: tasks to recover: 2\n[^]*rekindle: recovery ended after/);
      if (json) documents.recover.parse(JSON.parse(ended.stdout));
      else expect(ended.stdout).not.toContain('rekindle:');
    }
  });

  test('what can not be written is 1', async () => {
    const { args } = await sqlitePlace();
    for (const command of ['tasks', 'tasks --json', 'events', 'help']) {
      const line = [process.execPath, CLI, ...command.split(' '), ...(command === 'help' ? [] : args)].join(
        ' ',
      );
      const { code, stderr } = await new CommandProcess('bash', ['-c', `${line} > /dev/full`]).ended;
      expect({ command, code }).toEqual({ command, code: 1 });
      expect(stderr).toMatch(/could not be written: ENOSPC/);
    }
  });

  test('a module that Node can not load: where it is wrong, or what to do', async () => {
    const folder = tempFolder();
    const plan = async (name: string, source: string): Promise<string> => {
      writeFileSync(join(folder, name), source);
      const { code, stdout, stderr } = await rekindle(['plan', '--import', join(folder, name)]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      return stderr;
    };
    const wrong = join(folder, 'wrong.mjs');
    expect(await plan('wrong.mjs', 'export const a = 1;\nexport const b = ;\n')).toBe(
      `rekindle: ${wrong} could not be imported: Unexpected token ';' (${wrong}:2)\n`,
    );
    expect(await plan('outer.mjs', 'import "./wrong.mjs";\n')).toMatch(
      /Unexpected token ';', in a module that it imports: look for it with node --check\n$/,
    );
    const nope = 'import { nope } from "node:fs";\nexport { nope };\n';
    expect(await plan('nope.mjs', nope)).toContain(`named 'nope' (${join(folder, 'nope.mjs')}:1)\n`);
    expect(await plan('tasks.tsx', 'export const a: number = 1;')).toMatch(
      /build it and import the JavaScript/,
    );
  });

  test('a module that never loads ends with a signal', async () => {
    const file = join(tempFolder(), 'endless.mjs');
    writeFileSync(file, 'process.stderr.write("loading"); await new Promise(() => {});');
    const loading = new CommandProcess(process.execPath, [CLI, 'tasks', '--import', file]);
    await loading.said('loading');
    loading.signal('SIGTERM');
    expect(await loading.ended).toMatchObject({ code: 143, stdout: '', stderr: 'loading' });
  });

  test('a wrong command line is 2, a task that is not there 4', async () => {
    const { args } = await sqlitePlace();
    expect(await rekindle(['tusks', ...args])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: "rekindle: unknown command 'tusks' (Did you mean tasks?)\n",
    });
    expect(await rekindle(['task', 'nobody', ...args])).toMatchObject({ code: 4, stdout: '' });
    expect(await rekindle(['tasks', '--sqlite', '/nowhere.db'])).toMatchObject({ code: 3, stdout: '' });
  });
});
