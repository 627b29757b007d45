import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DocumentProgress } from '../../src/domain/document-recovery.js';
import { settled } from '../support/manual-clock.js';
import { broken, DUE_MS, failed, leap, reader } from './documents-lab.js';
import { alertsOf, trapUnhandledRejections, untilAborted, World } from './harness.js';
import { watched } from './lab.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

describe('the time of an attempt', () => {
  it('is over after attemptTimeoutMs: its signal aborts, it has failed, and the next goes on', async () => {
    const proc = reader(world, { documents: { attemptTimeoutMs: 5_000, concurrency: 1 } });
    await failed(proc, '/slow', '/fast');
    leap(world, DUE_MS);
    proc.does((path, ctx) => (path === '/slow' ? untilAborted(ctx) : 'text'));
    const run = watched(proc.recovery.documents.recover());
    await world.clock.advance(4_999);
    expect(run.state).toBe('open');
    expect(await proc.recovery.failures.get('/slow')).toMatchObject({ status: 'processing' });
    await world.clock.advance(1);
    expect(run.value).toMatchObject({ attempted: 2, succeeded: 1, failed: 1 });
    expect(await proc.recovery.failures.get('/slow')).toMatchObject({
      status: 'failed',
      errorCode: 'TASK_TIMED_OUT',
      category: 'timeout',
      retryCount: 1,
    });
    expect(proc.tried.toSorted()).toEqual(['/fast', '/slow']);
  });

  it('is over for a function that is deaf to its signal, too', async () => {
    const proc = reader(world, { documents: { attemptTimeoutMs: 5_000, concurrency: 1 } });
    await failed(proc, '/deaf', '/fast');
    leap(world, DUE_MS);
    proc.does((path) => (path === '/deaf' ? new Promise(() => {}) : 'text'));
    const report = await world.until(proc.recovery.documents.recover());
    expect(report).toMatchObject({ attempted: 2, succeeded: 1, failed: 1 });
    expect(alertsOf(proc.heard)).toContain('signal_ignored');
    expect(await proc.recovery.failures.get('/deaf')).toMatchObject({ errorCode: 'TASK_TIMED_OUT' });
  });

  it('is for good, whatever tries its task has left', async () => {
    const proc = reader(world, { documents: { attemptTimeoutMs: 5_000 }, task: { maxAttempts: 5 } });
    const first = proc.read('/in');
    await world.until(first.catch(() => {}));
    proc.tried.length = 0;
    leap(world, DUE_MS);
    proc.does((_path, ctx) => untilAborted(ctx));
    await expect(world.until(proc.recovery.documents.recover())).resolves.toMatchObject({ failed: 1 });
    await world.clock.advance(60_000);
    expect(proc.tried).toEqual(['/in']);
    expect(await proc.recovery.failures.get('/in')).toMatchObject({ status: 'failed', retryCount: 1 });
  });

  it('leaves one that waits for its own next try to itself', async () => {
    const proc = reader(world, { documents: { attemptTimeoutMs: 100 }, task: { maxAttempts: 3 } });
    await world.until(proc.read('/in').catch(() => {}));
    proc.tried.length = 0;
    leap(world, DUE_MS);
    const run = watched(proc.recovery.documents.recover());
    await world.clock.advance(100);
    expect(run.value).toMatchObject({ attempted: 1, succeeded: 0, failed: 0 });
    expect(run.value).toMatchObject({ tasks: [{ outcome: 'deferred' }] });
    expect(proc.tried).toEqual(['/in']);
    proc.does(() => 'text');
    await world.clock.advance(60_000);
    expect(proc.tried).toEqual(['/in', '/in']);
    expect(await proc.recovery.failures.count()).toBe(0);
    expect(await proc.recovery.documents.getStatus()).toMatchObject({
      recovery_attempts: 1,
      successful_recoveries: 1,
    });
  });
});

const nonsense: readonly (readonly [string, () => unknown])[] = [
  ['throws', broken],
  ['rejects', () => Promise.reject(new Error('no'))],
  ['returns a number', () => 7],
  ['returns an empty text', () => ''],
  ['returns a list', () => [broken]],
];

describe('functions of the user', () => {
  it.each(nonsense)('onProgress %s: nothing comes of it', async (_what, onProgress) => {
    const proc = reader(world, { documents: { onProgress } });
    await failed(proc, '/a', '/b');
    leap(world, DUE_MS);
    proc.does(() => 'text');
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ succeeded: 2 });
    await settled();
  });

  it('onProgress hears of each end', async () => {
    const heard: DocumentProgress[] = [];
    const proc = reader(world, { documents: { concurrency: 1, onProgress: (each) => heard.push(each) } });
    await failed(proc, '/a', '/b', '/c');
    leap(world, DUE_MS);
    proc.does(() => (heard.length === 1 ? broken() : 'text'));
    await proc.recovery.documents.recover();
    expect(heard.map((each) => ({ ...each, taskId: '?' }))).toEqual([
      { taskId: '?', name: 'read', outcome: 'completed', total: 3, attempted: 1, succeeded: 1, failed: 0 },
      { taskId: '?', name: 'read', outcome: 'failed', total: 3, attempted: 2, succeeded: 1, failed: 1 },
      { taskId: '?', name: 'read', outcome: 'completed', total: 3, attempted: 3, succeeded: 2, failed: 1 },
    ]);
    expect(heard.map(({ taskId }) => taskId).toSorted()).toEqual(['/a', '/b', '/c']);
  });

  it.each(nonsense)('categorize %s: the built-in categories stand', async (_what, categorize) => {
    const documents = {};
    Reflect.set(documents, 'categorize', categorize);
    const proc = reader(world, { documents });
    await failed(proc, '/a');
    await settled();
    expect((await proc.recovery.failures.get('/a'))?.category).toBe('other');
  });

  it('categorize puts failures into categories of its own', async () => {
    const proc = reader(world, {
      documents: { categorize: ({ message }) => (message === 'broken' ? 'ours' : null) },
    });
    await failed(proc, '/a');
    proc.does(() => {
      throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    });
    await failed(proc, '/b');
    expect((await proc.recovery.failures.get('/a'))?.category).toBe('ours');
    expect((await proc.recovery.failures.get('/b'))?.category).toBe('network');
    expect(await proc.recovery.failures.count({ category: 'ours' })).toBe(1);
  });

  it.each<readonly [string, () => unknown, string]>([
    ['throws nothing at all', () => Promise.reject(undefined), 'failed'],
    ['throws a text', () => Promise.reject('no'), 'failed'],
    ['returns what JSON can not hold', () => 7n, 'completed'],
    ['returns a function', () => broken, 'completed'],
  ])('a document whose function %s', async (_what, work, outcome) => {
    const proc = reader(world);
    await failed(proc, '/a', '/b');
    leap(world, DUE_MS);
    proc.does((path) => (path === '/a' ? work() : 'text'));
    const { tasks } = await proc.recovery.documents.recover();
    expect(new Map(tasks.map((task) => [task.taskId, task.outcome]))).toEqual(
      new Map([
        ['/a', outcome],
        ['/b', 'completed'],
      ]),
    );
  });
});
