import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Recovery } from '../../../src/index.js';
import {
  ask,
  authorize,
  CANARY,
  DONE_ID,
  FAILED_ID,
  filled,
  GIVEN_UP_ID,
  ORPHAN_ID,
  post,
  served,
  SERVERS,
} from './lab.js';
import type { Filled, Served } from './lab.js';

const prometheus = { text: async () => 'up 1\n', contentType: 'text/plain; version=0.0.4' };

interface Answer {
  readonly [field: string]: unknown;
  readonly tasks?: { readonly taskId: string; readonly error: unknown }[];
  readonly documents?: { readonly taskId: string }[];
  readonly groups?: unknown[];
  readonly next?: string | null;
  readonly error?: { readonly code: string };
}

async function jsonOf(response: Response): Promise<Answer> {
  const answer: Answer = JSON.parse(await response.text());
  return answer;
}

const idsOf = (found: readonly { readonly taskId: string }[] = []): string[] =>
  found.map(({ taskId }) => taskId);

describe.each(SERVERS)('%s', (kind) => {
  let all: Filled;
  let recovery: Recovery;
  let server: Served;
  beforeAll(async () => {
    all = await filled({ checks: { redis: () => true, queue: () => Promise.resolve() } });
    ({ recovery } = all);
    server = await served(kind, recovery, { authorize, prometheus, pageSize: 2 });
  });
  afterAll(async () => {
    all.release();
    await server.close();
    await recovery.shutdown();
  });

  test('health', async () => {
    expect(await jsonOf(await fetch(`${server.url}/health/live`))).toEqual({ status: 'live' });
    expect(await jsonOf(await fetch(`${server.url}/health/ready`))).toEqual({ status: 'ready' });
    const health = await fetch(`${server.url}/health/recovery`);
    expect(health.status).toBe(200);
    expect(await jsonOf(health)).toMatchObject({ overall_health: 'healthy', recovery_queue_depth: 1 });
    const metrics = await jsonOf(await fetch(`${server.url}/health/recovery/metrics`));
    expect(metrics).toMatchObject({ task_state_distribution: { completed: 1, orphaned: 1 } });
    const detailed = await jsonOf(await fetch(`${server.url}/health/detailed`));
    expect(detailed).toMatchObject({
      status: 'healthy',
      checks: {
        storage: { status: 'up', counts: { completed: 1, orphaned: 1 } },
        redis: { status: 'up' },
        queue: { status: 'up', counts: { waiting: 1, processing: 0, stalled: 0, orphaned: 1 } },
        documents: { status: 'up', counts: { failed: 2 } },
      },
    });
    const text = await fetch(`${server.url}/metrics`);
    expect(await text.text()).toBe('up 1\n');
    expect(text.headers.get('content-type')).toBe(prometheus.contentType);
  });

  test('every answer has its headers, and HEAD has no body', async () => {
    for (const path of ['/health/live', '/recovery/status', '/recovery/nothing', '/metrics']) {
      const got = await ask(server.url + path);
      const head = await ask(server.url + path, { method: 'HEAD' });
      for (const response of [got, head]) {
        expect(response.headers.get('cache-control')).toBe('no-store');
        expect(response.headers.get('x-content-type-options')).toBe('nosniff');
        expect(response.headers.get('access-control-allow-origin')).toBeNull();
      }
      expect(head.status).toBe(got.status);
      expect(head.headers.get('content-length')).toBe(String((await got.arrayBuffer()).byteLength));
      expect(await head.text()).toBe('');
    }
  });

  test('tasks, page by page', async () => {
    expect(await jsonOf(await ask(`${server.url}/recovery/status`))).toEqual({
      stalled: 0,
      queued: 1,
      processing: 0,
      last_recovery_run: null,
    });
    const ids: string[] = [];
    let after = '';
    do {
      const page = await jsonOf(await ask(`${server.url}/recovery/tasks${after}`));
      expect(page.tasks?.length).toBeLessThanOrEqual(2);
      ids.push(...idsOf(page.tasks));
      after = page.next === null ? '' : `?after=${page.next}`;
    } while (after !== '');
    expect(ids.toSorted()).toEqual(
      ['/in/by-hand.txt', DONE_ID, FAILED_ID, GIVEN_UP_ID, ORPHAN_ID].toSorted(),
    );
    const failed = await jsonOf(await ask(`${server.url}/recovery/tasks?status=failed&name=convert&limit=9`));
    expect(idsOf(failed.tasks)).toEqual([FAILED_ID]);
    expect(failed.tasks?.[0]?.error).toEqual({ name: 'TypeError', code: 'ENOENT' });
  });

  test('a task with all that is known of it, whatever its id', async () => {
    const answer = await jsonOf(await ask(`${server.url}/recovery/tasks/${encodeURIComponent(FAILED_ID)}`));
    expect(answer).toMatchObject({
      task: { taskId: FAILED_ID, status: 'failed' },
      failure: { errorName: 'TypeError', errorCode: 'ENOENT', category: 'file_not_found' },
      checkpoints: [{ name: 'read', progressPercent: 40 }],
      attempts: [{ attempt: 1, end: 'task_failed' }],
      events: [{ event: 'task_started' }, { event: 'task_failed' }],
      truncated: false,
    });
    const cut = await jsonOf(
      await ask(`${server.url}/recovery/tasks/${encodeURIComponent(FAILED_ID)}?limit=1`),
    );
    expect(cut).toMatchObject({ events: [{ event: 'task_failed' }], truncated: true });
    const missing = await ask(`${server.url}/recovery/tasks/nobody`);
    expect([missing.status, await jsonOf(missing)]).toMatchObject([
      404,
      { error: { code: 'TASK_NOT_FOUND' } },
    ]);
  });

  test('plan, failures, groups', async () => {
    const plan = await jsonOf(await ask(`${server.url}/recovery/plan`));
    expect(plan).toMatchObject({
      planned: [
        {
          taskId: ORPHAN_ID,
          decision: 'resume',
          strategy: 'checkpoint-resume',
          evidence: { checkpoint: 'read' },
        },
      ],
      total: 1,
    });
    const failures = await jsonOf(
      await ask(`${server.url}/recovery/failures?category=file_not_found&minAgeMs=0&eligible=false`),
    );
    expect(idsOf(failures.documents)).toEqual([FAILED_ID]);
    const groups = await jsonOf(await ask(`${server.url}/recovery/failures/groups`));
    expect(groups.total).toBe(2);
    expect(groups.groups?.[0]).toMatchObject({ count: 1, fingerprint: expect.any(String) });
  });

  test('what is not shown unasked is not there', async () => {
    for (const path of [
      'tasks',
      `tasks/${encodeURIComponent(FAILED_ID)}`,
      `tasks/${ORPHAN_ID}`,
      'failures',
      'failures/groups',
      'plan',
    ]) {
      const text = await (await ask(`${server.url}/recovery/${path}`)).text();
      expect(text).not.toContain(CANARY);
      expect(text).not.toMatch(/recoverableData|databaseState|errorMessage|metadata/);
    }
  });

  test('bodies: read, bounded, and refused for what they are', async () => {
    const url = `${server.url}/recovery/failures/redrive`;
    const send = (body: string, type: string | null): Promise<Response> =>
      ask(url, {
        method: 'POST',
        body: new Blob([body]),
        headers: type === null ? {} : { 'content-type': type },
      });
    const codes = async (response: Response): Promise<unknown> => [
      response.status,
      (await jsonOf(response)).error?.code,
    ];
    expect(await codes(await post(url, { fingerprint: 'none' }))).toEqual([200, undefined]);
    // Frameworks that parse answer what can't be parsed by themselves.
    const parses = kind === 'express' || kind === 'fastify';
    expect((await post(url, {})).status).toBe(400);
    expect((await post(url, { fingerprint: 7 })).status).toBe(400);
    expect((await post(url, { other: 'x' })).status).toBe(400);
    expect((await post(url, [])).status).toBe(400);
    expect((await send('{"fingerprint":', 'application/json')).status).toBe(400);
    expect((await send('fingerprint=x', 'application/x-www-form-urlencoded')).status).toBe(415);
    expect((await post(url, { fingerprint: 'x'.repeat(70_000) })).status).toBe(413);
    if (parses) return;
    expect(await codes(await send('{"fingerprint":"\u00ff', 'application/json; charset=utf-8'))).toEqual([
      400,
      'BODY_INVALID',
    ]);
    expect(await codes(await post(url, { fingerprint: 'x'.repeat(70_000) }))).toEqual([
      413,
      'BODY_TOO_LARGE',
    ]);
  });

  test('buttons: requeue, cancel, redrive, trigger', async () => {
    const given = encodeURIComponent(GIVEN_UP_ID);
    const requeued = await post(`${server.url}/recovery/tasks/${given}/requeue`);
    expect([requeued.status, await jsonOf(requeued)]).toEqual([200, { success: true, taskId: GIVEN_UP_ID }]);
    expect(await recovery.tasks.get(GIVEN_UP_ID)).toMatchObject({ status: 'orphaned' });
    const cancelled = await post(`${server.url}/recovery/tasks/${given}/cancel`, { reason: 'withdrawn' });
    expect(await jsonOf(cancelled)).toEqual({ success: true, taskId: GIVEN_UP_ID, outcome: 'cancelled' });
    const again = await post(`${server.url}/recovery/tasks/${given}/cancel`);
    expect(await jsonOf(again)).toEqual({ success: false, taskId: GIVEN_UP_ID, outcome: 'ended' });
    const wrong = await post(`${server.url}/recovery/tasks/${DONE_ID}/requeue`, {});
    expect([wrong.status, await jsonOf(wrong)]).toMatchObject([409, { error: { code: 'WRONG_STATE' } }]);
    const nobody = await post(`${server.url}/recovery/tasks/nobody/requeue`);
    expect(nobody.status).toBe(404);
    const { fingerprint } = (await recovery.failures.get(FAILED_ID))!;
    const redriven = await post(`${server.url}/recovery/failures/redrive`, { fingerprint });
    expect([redriven.status, await jsonOf(redriven)]).toMatchObject([
      200,
      { success: false, finished: true, found: 1, recovered: 1, failed: 1 },
    ]);
    all.release();
    const triggered = await post(`${server.url}/recovery/trigger`, { documents: true });
    expect([triggered.status, await jsonOf(triggered)]).toEqual([
      200,
      { success: true, finished: true, recovered: 1, failed: 0, skipped: 0, deferred: 0, dead_lettered: 0 },
    ]);
    expect(await recovery.tasks.get(ORPHAN_ID)).toMatchObject({ status: 'completed' });
  });

  test('foreign paths are for others', async () => {
    const own = { 'node:http': 404, express: 418, 'express router': 418, fastify: 404, 'fastify raw': 404 };
    for (const path of ['', '/', '/health', '/health/other', '/other'])
      expect((await ask(server.url + path)).status, path).toBe(own[kind]);
    expect((await ask(`${server.url}/recovery/other`)).status).toBe(404);
    const outside = new URL('/health/live', server.url);
    if (kind !== 'node:http') expect((await ask(String(outside))).status).toBe(own[kind]);
  });
});
