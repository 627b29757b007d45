import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { RecoveryEvent } from '../../src/domain/events.js';
import { followEvents } from '../../src/state/event-log.js';
import type { Store } from '../../src/state/store.js';
import { decodeEvent, eventFields, localEvent } from '../../src/state/task-events.js';
import { settled } from '../support/manual-clock.js';
import type { ManualClock } from '../support/manual-clock.js';
import { plainStore } from './manual-storage.js';

let unique = 0;

async function append(store: Store, partition: number, taskId: string): Promise<void> {
  unique += 1;
  const fields = eventFields('task_started', { taskId, name: 'n', attempt: 1, recovered: false }, 1);
  await store.commit(store.partitions[partition] ?? store.home, [
    {
      guard: { key: `g${unique}`, expect: null, next: '1.x.0' },
      notAfter: Number.MAX_SAFE_INTEGER,
      append: [fields],
    },
  ]);
}

/** Reads until nothing comes any more. */
async function readAll(store: Store, clock: ManualClock, after?: string): Promise<RecoveryEvent[]> {
  const stop = new AbortController();
  const seen: RecoveryEvent[] = [];
  const reading = (async () => {
    for await (const event of followEvents(store, {
      signal: stop.signal,
      ...(after === undefined ? {} : { after }),
    })) {
      seen.push(event);
    }
  })();
  await settled();
  stop.abort();
  await clock.advance(1_000);
  await reading;
  return seen;
}

const ids = (events: readonly RecoveryEvent[]): (string | null)[] => events.map(({ task_id }) => task_id);

describe('followEvents', () => {
  it('many followers of one Recovery are no leak', async () => {
    const warnings: string[] = [];
    const listen = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', listen);
    const { store } = plainStore();
    const closed = new AbortController();
    const ends = Array.from({ length: 15 }, () => followEvents(store, {}, closed.signal).next());
    await settled();
    expect(getEventListeners(closed.signal, 'abort')).toHaveLength(15);
    closed.abort();
    expect((await Promise.all(ends)).every(({ done }) => done)).toBe(true);
    process.off('warning', listen);
    expect(warnings).toEqual([]);
  });

  it('ends with the newest event when it is told not to follow', async () => {
    const { store } = plainStore(3);
    const page = Array.from({ length: 250 }, (_, at) => `a${at}`);
    for (const id of page) await append(store, 1, id);
    await append(store, 2, 'last');
    const seen: RecoveryEvent[] = [];
    for await (const event of followEvents(store, { follow: false })) seen.push(event);
    expect(seen).toHaveLength(251);
    const rest: RecoveryEvent[] = [];
    const after = seen[249]?.cursor ?? '';
    for await (const event of followEvents(store, { follow: false, after })) rest.push(event);
    expect(ids(rest)).toEqual(ids(seen.slice(250)));
  });

  it('reads what is there, then what comes', async () => {
    const { store, clock } = plainStore();
    await append(store, 0, 'a');
    const events = followEvents(store)[Symbol.asyncIterator]();
    expect((await events.next()).value).toMatchObject({
      event: 'task_started',
      task_id: 'a',
      seq: 1,
      recovery: false,
    });
    const next = events.next();
    await clock.advance(300);
    await append(store, 0, 'b');
    await clock.advance(300);
    expect((await next).value).toMatchObject({ task_id: 'b', timestamp: clock.wallMs() - 300 });
    await events.return(undefined);
  });

  it('continues behind the cursor of any event, over all partitions, without a gap or a repeat', async () => {
    const { store, clock } = plainStore(3);
    for (const [index, id] of ['a', 'b', 'c', 'd', 'e', 'f'].entries()) await append(store, index % 3, id);
    const all = await readAll(store, clock);
    expect(new Set(ids(all))).toEqual(new Set(['a', 'b', 'c', 'd', 'e', 'f']));
    expect(all).toHaveLength(6);
    for (const [index, event] of all.entries()) {
      const rest = await readAll(store, clock, event.cursor ?? undefined);
      expect(new Set([...ids(all.slice(0, index + 1)), ...ids(rest)])).toEqual(new Set(ids(all)));
      expect(rest).toHaveLength(all.length - index - 1);
    }
    await append(store, 1, 'g');
    expect(ids(await readAll(store, clock, all.at(-1)?.cursor ?? undefined))).toEqual(['g']);
  });

  it('reads more than a page', async () => {
    const { store, clock } = plainStore();
    for (let count = 0; count < 250; count += 1) await append(store, 0, `t${count}`);
    expect(ids(await readAll(store, clock))).toEqual(Array.from({ length: 250 }, (_, count) => `t${count}`));
  });

  it('tells that events were missed when its cursor was trimmed away, then goes on', async () => {
    const { store, clock } = plainStore(1, 3);
    await append(store, 0, 'a');
    const [first] = await readAll(store, clock);
    for (const id of ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']) await append(store, 0, id);
    const [alert, ...rest] = await readAll(store, clock, first?.cursor ?? undefined);
    expect(alert).toMatchObject({
      event: 'alert',
      cursor: null,
      timestamp: clock.wallMs() - 1_000,
      details: { kind: 'events_truncated' },
    });
    expect(ids(rest).slice(-3)).toEqual(['g', 'h', 'i']);
  });

  it.each([
    ['rubbish', 'rubbish'],
    ['of another number of partitions', Buffer.from('[null]').toString('base64url')],
    ['no list', Buffer.from('{"length":2}').toString('base64url')],
  ])('refuses a cursor that is %s', async (_what, after) => {
    const { store } = plainStore(2);
    await expect(followEvents(store, { after }).next()).rejects.toMatchObject({ code: 'INVALID_VALUE' });
  });

  it('ends at once when its signal has aborted already', async () => {
    const { store } = plainStore();
    await append(store, 0, 'a');
    await expect(followEvents(store, { signal: AbortSignal.abort() }).next()).resolves.toMatchObject({
      done: true,
    });
  });
});

describe('events as fields', () => {
  it('come back with their details', () => {
    const subject = { taskId: 't', name: 'n', attempt: 2, recovered: true };
    const event = localEvent(eventFields('recovery_started', subject, 7, { cause: 'lease_over' }), 1_234);
    expect(event).toEqual({
      event: 'recovery_started',
      task_id: 't',
      name: 'n',
      timestamp: 1_234,
      recovery: true,
      seq: 7,
      cursor: null,
      details: { attempt: '2', cause: 'lease_over' },
    });
  });

  it('of an unknown kind are alerts, not lies', () => {
    expect(decodeEvent(new Map([['event', 'from_the_future']]), 'c')).toMatchObject({
      event: 'alert',
      cursor: 'c',
      seq: null,
    });
  });
});
