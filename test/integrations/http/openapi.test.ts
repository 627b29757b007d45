import { readFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as z from 'zod';
import { createHttpHandler, openApiDocument } from '../../../src/integrations/http/index.js';
import type { HttpHandler } from '../../../src/integrations/http/index.js';
import { CANARY, DONE_ID, FAILED_ID, filled, GIVEN_UP_ID, ORPHAN_ID } from './lab.js';
import type { Filled } from './lab.js';
import { EventClient } from './sse.js';

const FILE = 'docs/openapi.json';

interface Operation {
  readonly responses: Readonly<
    Record<string, { content: Record<string, { schema: Record<string, unknown> }> }>
  >;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Readonly<Record<string, unknown>>>> };
}

const document: Document = JSON.parse(readFileSync(FILE, 'utf8'));

test('docs/openapi.json is what the routes say', async () => {
  const text = await format(JSON.stringify(openApiDocument()), {
    ...(await resolveConfig(FILE)),
    parser: 'json',
  });
  expect(readFileSync(FILE, 'utf8'), 'npm run openapi:update').toBe(text);
});

/** A schema of the file as zod reads it, with the components that it refers to. */
function schemaOf(schema: Readonly<Record<string, unknown>>): z.ZodType {
  const whole = JSON.stringify({ ...schema, $defs: document.components.schemas });
  return z.fromJSONSchema(JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/')));
}

let all: Filled;
const seen = new Set<string>();
beforeAll(async () => {
  all = await filled({ checks: { redis: () => true } });
});
afterAll(async () => {
  all.release();
  await all.recovery.shutdown();
});

/** The operation of a path, told apart by what its segments are. */
function operationOf(method: string, pathname: string): [string, Operation] {
  const found = Object.entries(document.paths).filter(([path, operations]) => {
    const pattern = new RegExp(`^${path.replace('{taskId}', '[^/]+')}$`);
    return pattern.test(pathname) && operations[method.toLowerCase()] !== undefined;
  });
  expect(found, `${method} ${pathname}`).toHaveLength(1);
  const [path, operations] = found[0]!;
  return [`${method} ${path}`, operations[method.toLowerCase()]!];
}

async function checked(handler: HttpHandler, target: string, body?: unknown): Promise<number> {
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
  const request = new Request(`http://a${target}`, body === undefined ? {} : init);
  const answer = await handler(request);
  const [name, operation] = operationOf(request.method, new URL(request.url).pathname);
  const promised = operation.responses[answer.status];
  expect(promised, `${name} ${answer.status}`).toBeDefined();
  const type = answer.headers.get('content-type')?.split(';')[0] ?? '';
  const schema = promised?.content[type]?.schema;
  expect(schema, `${name} ${answer.status} ${type}`).toBeDefined();
  const value: unknown = type === 'application/json' ? await answer.json() : await answer.text();
  const { error } = schemaOf(schema!).safeParse(value);
  expect(error?.issues ?? [], `${name} ${answer.status}: ${JSON.stringify(value)}`).toEqual([]);
  seen.add(`${name} ${answer.status}`);
  return answer.status;
}

describe('real answers are what the file says', () => {
  const failed = encodeURIComponent(FAILED_ID);
  const prometheus = { text: async () => 'up 1\n', contentType: 'text/plain; version=0.0.4' };

  test.each([false, true])('of each route, with everything shown: %s', async (shown) => {
    const options = { authorize: () => true, prometheus, showErrors: shown, showPayloads: shown };
    const handler = createHttpHandler(all.recovery, options);
    const looks = [
      'status',
      'tasks',
      `tasks/${failed}`,
      `tasks/${ORPHAN_ID}`,
      `tasks/${DONE_ID}`,
      'plan',
      'failures',
    ];
    const gets = [
      '/health/live',
      '/health/ready',
      '/health/recovery',
      '/health/recovery/metrics',
      '/health/detailed',
      '/metrics',
      '/recovery/failures/groups',
      ...looks.map((path) => `/recovery/${path}`),
    ];
    for (const path of gets) expect(await checked(handler, path), path).toBe(200);
    expect(await checked(handler, '/recovery/tasks/nobody')).toBe(404);
    expect(await checked(handler, '/recovery/tasks?limit=x')).toBe(400);
    const given = encodeURIComponent(GIVEN_UP_ID);
    expect(await checked(handler, `/recovery/tasks/${given}/requeue`, {})).toBe(200);
    expect(await checked(handler, `/recovery/tasks/${given}/cancel`, {})).toBe(200);
    expect(await checked(handler, `/recovery/tasks/${DONE_ID}/requeue`, {})).toBe(409);
    expect(await checked(handler, '/recovery/failures/redrive', { category: 'none' })).toBe(200);
    expect(await checked(handler, '/recovery/failures/redrive', {})).toBe(400);
    expect(await checked(handler, '/recovery/failures/redrive', { category: CANARY.repeat(9_999) })).toBe(
      413,
    );
    expect(await checked(handler, '/recovery/trigger', { names: ['nothing'] })).toBe(200);
  });

  test('of a run that takes longer', async () => {
    const handler = createHttpHandler(all.recovery, { authorize: () => true, waitMs: 0 });
    expect(await checked(handler, '/recovery/trigger', {})).toBe(202);
  });

  test('of a refusal', async () => {
    const handler = createHttpHandler(all.recovery, { authorize: () => false });
    expect(await checked(handler, '/recovery/status')).toBe(403);
  });

  test('of the event stream', async () => {
    const handler = createHttpHandler(all.recovery, { authorize: () => true });
    const [name] = operationOf('GET', '/recovery/events');
    seen.add(`${name} 200`);
    const client = new EventClient(await handler(new Request('http://a/recovery/events')));
    const schema = schemaOf(document.components.schemas['RecoveryEvent']!);
    for (const { data } of await client.take(5))
      expect(schema.safeParse(data).error?.issues ?? []).toEqual([]);
    await client.close();
  });

  test('every operation was asked, and succeeded', () => {
    const operations = Object.entries(document.paths).flatMap(([path, each]) =>
      Object.keys(each).map((method) => `${method.toUpperCase()} ${path} 200`),
    );
    expect(operations).toHaveLength(17);
    for (const operation of operations) expect([...seen]).toContain(operation);
  });
});
