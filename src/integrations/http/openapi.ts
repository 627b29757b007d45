/** The OpenAPI document of the routes, from the schemas that they are checked by. */
import * as z from 'zod';
import { healthReportSchema, recoveryMetricsSchema } from '../../schemas/operations.js';
import { recoveryEventSchema, taskAttemptSchema } from '../../schemas/tasks.js';
import { ALL_ROUTES } from './handler.js';
import { cancelBody, redriveBody, triggerBody } from './requests.js';
import { isAdmin } from './route.js';
import type { Route } from './route.js';
import {
  cancelSchema,
  detailedHealthSchema,
  failureSchema,
  failuresSchema,
  groupsSchema,
  liveSchema,
  planSchema,
  problemSchema,
  readySchema,
  redriveSchema,
  requeueSchema,
  statusSchema,
  taskAnswerSchema,
  taskSchema,
  tasksSchema,
  triggerSchema,
} from './schemas.js';

type Json = Record<string, unknown>;

const NAMED: Readonly<Record<string, z.ZodType>> = {
  Cancelled: cancelSchema,
  CancelBody: cancelBody,
  DetailedHealth: detailedHealthSchema,
  FailedDocument: failureSchema,
  Failures: failuresSchema,
  Groups: groupsSchema,
  HealthReport: healthReportSchema,
  Live: liveSchema,
  Metrics: recoveryMetricsSchema,
  Plan: planSchema,
  Problem: problemSchema,
  Ready: readySchema,
  RecoveryEvent: recoveryEventSchema,
  RedriveBody: redriveBody,
  Redriven: redriveSchema,
  Requeued: requeueSchema,
  Status: statusSchema,
  Task: taskSchema,
  TaskAttempt: taskAttemptSchema,
  TaskDetails: taskAnswerSchema,
  Tasks: tasksSchema,
  TriggerBody: triggerBody,
  Triggered: triggerSchema,
};

/** Without what a schema has only as a document of its own. */
function bare(schema: object): Json {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== '$schema' && key !== '$id'));
}

function schemas(): Json {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(NAMED)) registry.add(schema, { id });
  const made = z.toJSONSchema(registry, { uri: (id) => `#/components/schemas/${id}` });
  return Object.fromEntries(Object.entries(made.schemas).map(([id, schema]) => [id, bare(schema)]));
}

function reference(schema: z.ZodType): Json {
  const [name] = Object.entries(NAMED).find(([, named]) => named === schema) ?? [];
  if (name !== undefined) return { $ref: `#/components/schemas/${name}` };
  return bare(z.toJSONSchema(schema));
}

const REASONS: Readonly<Record<number, string>> = {
  200: 'Done.',
  202: 'Under way: it goes on behind this answer.',
  400: 'The request is not understood.',
  403: 'Refused by `authorize`, or sent from another site. It says the same whatever was asked for.',
  404: 'There is no such task.',
  409: 'The task is in a state in which this can not be done, or can not be read here.',
  413: 'The body is too large.',
  415: 'The body is no JSON.',
  501: 'A package that it needs is not installed.',
  503: 'The storage is away, or this worker is shut down.',
};

function answer(status: number, schema: z.ZodType | null, type: string): Json {
  const content =
    schema === null
      ? { [type]: { schema: { type: 'string' } } }
      : { 'application/json': { schema: reference(schema) } };
  return { description: REASONS[status] ?? '', content };
}

function answers({ path, method, answers: own, type }: Route): Json {
  const problems = [
    ...(isAdmin(path) ? [400, 403] : []),
    ...(path.includes('{taskId}') ? [404, 409] : []),
    ...(method === 'POST' ? [413, 415] : []),
    ...(path.endsWith('/live') ? [] : [503]),
  ];
  const found = new Map<number, Json>(
    problems.map((status) => [status, answer(status, problemSchema, 'application/json')]),
  );
  for (const [status, schema] of Object.entries(own))
    found.set(Number(status), answer(Number(status), schema, type ?? 'application/json'));
  return Object.fromEntries([...found].map(([status, each]) => [String(status), each]));
}

function parameters({ path, query }: Route): Json[] {
  const inPath = path.includes('{taskId}')
    ? [{ name: 'taskId', in: 'path', required: true, schema: { type: 'string', maxLength: 256 } }]
    : [];
  const { properties = {} } = query === undefined ? {} : z.toJSONSchema(query);
  const inQuery = Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', schema }));
  const last = path.endsWith('/events')
    ? [{ name: 'Last-Event-ID', in: 'header', schema: { type: 'string' } }]
    : [];
  return [...inPath, ...inQuery, ...last];
}

function operation(route: Route): Json {
  const { summary, body, path } = route;
  const given = parameters(route);
  return {
    summary,
    tags: [isAdmin(path) ? 'admin' : 'health'],
    ...(given.length === 0 ? {} : { parameters: given }),
    ...(body === undefined
      ? {}
      : { requestBody: { content: { 'application/json': { schema: reference(body) } } } }),
    responses: answers(route),
  };
}

/**
 * The OpenAPI 3.1 document of all routes, those that need an option included. Paths are without a prefix.
 * @example app.get('/openapi.json', (req, res) => res.json(openApiDocument()));
 */
export function openApiDocument(): Record<string, unknown> {
  const paths = new Map<string, Json>();
  for (const route of ALL_ROUTES)
    paths.set(route.path, { ...paths.get(route.path), [route.method.toLowerCase()]: operation(route) });
  return {
    openapi: '3.1.0',
    info: {
      title: 'rekindle',
      version: '1',
      description:
        'Recovery of tasks over HTTP. What is not shown (messages, payloads) is absent. HEAD works where GET does.',
      license: { name: 'MIT' },
    },
    tags: [
      { name: 'health', description: 'For everybody.' },
      { name: 'admin', description: 'For those whom `authorize` lets pass; without it they do not exist.' },
    ],
    paths: Object.fromEntries(paths),
    components: { schemas: schemas() },
  };
}
