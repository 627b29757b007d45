import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHttpHandler } from '../../../src/integrations/http/index.js';
import type { EventsOptions, Recovery, RecoveryEvent } from '../../../src/index.js';
import { ask, authorize, CANARY, FAILED_ID, filled, served, SERVERS, TOKEN } from './lab.js';
import type { Filled, Served } from './lab.js';
import { EventClient } from './sse.js';

let all: Filled;
const opened: Served[] = [];
beforeEach(async () => {
  all = await filled();
});
afterEach(async () => {
  for (const server of opened.splice(0)) await server.close();
  all.release();
  await all.recovery.shutdown();
});

async function serve(...given: Parameters<typeof served>): Promise<string> {
  const server = await served(...given);
  opened.push(server);
  return `${server.url}/recovery/events`;
}

const follow = async (url: string, headers: Record<string, string> = {}): Promise<EventClient> =>
  new EventClient(await ask(url, { headers }));

/** The same Recovery, and the signal that each follower gave it. */
function watched(recovery: Recovery): { recovery: Recovery; signals: AbortSignal[] } {
  const signals: AbortSignal[] = [];
  const events = (options: EventsOptions = {}): AsyncIterable<RecoveryEvent> => {
    signals.push(options.signal!);
    return recovery.events(options);
  };
  return { recovery: { ...recovery, events }, signals };
}

describe.each(SERVERS)('%s', (kind) => {
  test('tells what happened and what happens, and goes on where a client was cut off', async () => {
    const url = await serve(kind, all.recovery, { authorize });
    const client = await follow(url);
    expect(client.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(client.response.headers.get('cache-control')).toContain('no-store');
    const before = await client.take(4);
    expect(before[0]).toMatchObject({ event: 'task_started', data: { event: 'task_started', seq: 1 } });
    expect(client.retryMs).toBe(2_000);
    expect(JSON.stringify(before)).not.toContain(CANARY);
    await client.close();

    // As a browser comes again; and as one begins that kept the cursor.
    const { id } = before[3]!;
    const rest = await follow(url, { 'last-event-id': id! });
    const next = await rest.take(2);
    const same = await follow(`${url}?after=${id}`);
    expect(await same.take(2)).toEqual(next);
    for (const sent of next) expect(before).not.toContainEqual(sent);
    await all.recovery.tasks.requeue(FAILED_ID);
    for (const each of [rest, same]) {
      let sent = await each.next();
      while (sent?.event !== 'task_requeued') sent = await each.next();
      expect(sent.data).toMatchObject({ task_id: FAILED_ID });
      await each.close();
    }
  });

  test('a client that goes is followed no longer', async () => {
    const { recovery, signals } = watched(all.recovery);
    const url = await serve(kind, recovery, { authorize, maxFollowers: 1 });
    const leaves = new AbortController();
    const client = new EventClient(
      await fetch(url, { headers: { authorization: TOKEN }, signal: leaves.signal }),
    );
    expect(await client.take(1)).toHaveLength(1);
    const second = await ask(url);
    expect([second.status, second.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await second.json()).toMatchObject({ error: { code: 'TOO_MANY_FOLLOWERS' } });
    const [signal] = signals;
    const aborted = once(signal!, 'abort');
    leaves.abort();
    await aborted;
    const third = await follow(url);
    expect(third.response.status).toBe(200);
    await third.close();
  });
});

test('a silent stream is kept alive, and ends with the shutdown', async () => {
  const url = await serve('node:http', all.recovery, { authorize, heartbeatMs: 10 });
  const client = await follow(url);
  while (client.comments.length < 3) await client.next();
  await all.recovery.shutdown();
  while ((await client.next()) !== null);
});

test('what is asked for in a wrong way has a status', async () => {
  const url = await serve('node:http', all.recovery, { authorize, maxFollowers: 1 });
  const answers = [
    await ask(url, { headers: { 'last-event-id': 'nonsense' } }),
    await ask(`${url}?after=WyJhIiwiYiJd`),
    await ask(`${url}?from=1`),
    await ask(`${url}?after=`),
  ];
  expect(answers.map(({ status }) => status)).toEqual([400, 400, 400, 400]);
  expect(await answers[0]!.json()).toMatchObject({ error: { code: 'INVALID_VALUE' } });
  const head = await ask(url, { method: 'HEAD' });
  expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
  // None of them has kept the only place.
  const client = await follow(url);
  expect(await client.take(1)).toHaveLength(1);
  await client.close();
});

test('messages of errors are in no event', async () => {
  const handler = createHttpHandler(
    { ...all.recovery, events: () => told({ kind: 'x', reason: CANARY }) },
    { authorize },
  );
  const request = (): Request =>
    new Request('http://a/recovery/events', { headers: { authorization: TOKEN } });
  const client = new EventClient(await handler(request()));
  const [sent] = await client.take(1);
  expect(sent).toMatchObject({ id: null, event: 'alert', data: { details: { kind: 'x' } } });
  expect(JSON.stringify(sent)).not.toContain(CANARY);
  expect(await client.next()).toBeNull();
});

async function* told(details: Record<string, string>): AsyncGenerator<RecoveryEvent> {
  yield {
    event: 'alert',
    task_id: null,
    name: null,
    timestamp: 1,
    recovery: false,
    seq: null,
    cursor: null,
    details,
  };
}

test('a client that does not read is not read for', async () => {
  let made = 0;
  async function* endless(): AsyncGenerator<RecoveryEvent> {
    for (;;) {
      made += 1;
      if (made > 50_000) throw new Error('nothing held it back');
      yield* told({ text: 'x'.repeat(1_000) });
    }
  }
  const url = new URL(await serve('node:http', { ...all.recovery, events: endless }, { authorize }));
  const socket = connect(Number(url.port), url.hostname);
  socket.pause();
  socket.write(`GET ${url.pathname} HTTP/1.1\r\nhost: a\r\nauthorization: ${TOKEN}\r\n\r\n`);
  // It stands still once the buffers on the way are full.
  for (let seen = -1, still = 0; still < 20; still = seen === made && made > 0 ? still + 1 : 0) {
    seen = made;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(made).toBeLessThan(50_000);
  socket.destroy();
});
