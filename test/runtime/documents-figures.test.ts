import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { broken, DAY_MS, DUE_MS, failed, gated, HOUR_MS, leap, reader, writeOver } from './documents-lab.js';
import { trapUnhandledRejections, World } from './harness.js';
import { settled } from '../support/manual-clock.js';

trapUnhandledRejections();

describe.each([1, 3])('figures about failed documents, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const NOTHING = {
    total_failed_documents: 0,
    documents_eligible_for_retry: 0,
    dead_letters: 0,
    recovery_attempts: 0,
    successful_recoveries: 0,
    failed_recoveries: 0,
    recovery_success_rate: null,
    average_recovery_time: null,
    last_recovery_run: null,
    running: false,
  };

  it('are nothing at first, and looking writes nothing', async () => {
    const { recovery, line } = reader(world);
    expect(await recovery.documents.getStatus()).toEqual(NOTHING);
    expect(await recovery.documents.analyze()).toEqual({
      total: 0,
      ages: {
        under_1_hour: 0,
        from_1_to_6_hours: 0,
        from_6_to_24_hours: 0,
        from_1_to_7_days: 0,
        over_7_days: 0,
      },
      categories: {},
      workers: {},
      query_patterns: {},
    });
    expect(line.commits).toEqual([]);
  });

  it('tell of retries: how many, how well, how long, and when last', async () => {
    const proc = reader(world);
    await failed(proc, '/a', '/b', '/c', '/d');
    leap(world, DUE_MS);
    const { documents } = proc.recovery;
    expect(await documents.getStatus()).toMatchObject({
      total_failed_documents: 4,
      documents_eligible_for_retry: 4,
    });
    const took: Record<string, number> = { '/a': 1_000, '/b': 2_000, '/c': 4_500 };
    const wait = (ms: number): Promise<void> => new Promise((done) => void world.clock.schedule(ms, done));
    proc.does(async (path) => {
      const ms = took[path];
      if (ms === undefined) return broken();
      await wait(ms);
      return 'text';
    });
    const run = documents.recover();
    await settled();
    expect(await documents.getStatus()).toMatchObject({ running: true, recovery_attempts: 4 });
    await world.clock.advance(4_500);
    const endedMs = world.clock.wallMs();
    await run;
    await world.clock.advance(777);
    expect(await documents.getStatus()).toEqual({
      total_failed_documents: 1,
      documents_eligible_for_retry: 0,
      dead_letters: 0,
      recovery_attempts: 4,
      successful_recoveries: 3,
      failed_recoveries: 1,
      recovery_success_rate: 0.75,
      average_recovery_time: 2_500,
      last_recovery_run: endedMs,
      running: false,
    });
  });

  it('are the same in every process, but for what runs in it', async () => {
    const [one, two] = [reader(world), reader(world)];
    await failed(one, '/a');
    leap(world, DUE_MS);
    const { work, openAll } = gated();
    one.does(work);
    const run = one.recovery.documents.recover();
    await settled();
    const { running, ...figures } = await one.recovery.documents.getStatus();
    expect(await two.recovery.documents.getStatus()).toEqual({ ...figures, running: false });
    expect(running).toBe(true);
    openAll();
    await run;
  });

  it('count by ages, at their exact limits', async () => {
    const proc = reader(world);
    await failed(proc, '/a');
    const { analyze } = proc.recovery.documents;
    const classes = {
      under_1_hour: [0, HOUR_MS - 1],
      from_1_to_6_hours: [HOUR_MS, 6 * HOUR_MS - 1],
      from_6_to_24_hours: [6 * HOUR_MS, DAY_MS - 1],
      from_1_to_7_days: [DAY_MS, 7 * DAY_MS - 1],
      over_7_days: [7 * DAY_MS, 100 * DAY_MS],
    };
    let ageMs = 0;
    for (const [name, limits] of Object.entries(classes)) {
      for (const limitMs of limits) {
        leap(world, limitMs - ageMs);
        ageMs = limitMs;
        const { ages, total } = await analyze();
        expect(total).toBe(1);
        expect(Object.entries(ages).filter(([, count]) => count > 0)).toEqual([[name, 1]]);
      }
    }
  });

  it('count by category, worker and kind of query, the most frequent first', async () => {
    const proc = reader(world, { slot: 'host-1' });
    const { failures, documents } = proc.recovery;
    const timeout = Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' });
    for (let n = 0; n < 5; n += 1) {
      await failures.record({
        documentPath: `/in/${n}`,
        error: n === 0 ? new Error('odd') : timeout,
        workerId: n < 3 ? 'w-b' : 'w-a',
        ...(n === 4 ? {} : { query: `SELECT * FROM pages WHERE id = ${n}` }),
      });
    }
    const { categories, workers, query_patterns: patterns } = await documents.analyze();
    expect(Object.entries(categories)).toEqual([
      ['timeout', 4],
      ['other', 1],
    ]);
    expect(Object.entries(workers)).toEqual([
      ['w-b', 3],
      ['w-a', 2],
    ]);
    expect(Object.values(patterns)).toEqual([4]);
    await failures.remove('/in/0');
    expect((await documents.analyze()).categories).toEqual({ timeout: 4 });
  });

  it('stand on what is left where something else has written over them', async () => {
    const proc = reader(world);
    await failed(proc, '/a', '/b');
    leap(world, DUE_MS);
    await proc.recovery.documents.recover({ taskIds: ['/a'] });
    await writeOver(world, keys.retryCounters, { attempts: 'many', succeeded: '1.5' });
    const status = await proc.recovery.documents.getStatus();
    expect(status).toMatchObject({ successful_recoveries: 0, total_failed_documents: 2 });
    expect(status.failed_recoveries).toBe(1);
    await writeOver(world, keys.retryCounters, { attempts: '-5', succeeded: '-5', failed: '-7' });
    expect(await proc.recovery.documents.getStatus()).toMatchObject({
      recovery_attempts: 0,
      successful_recoveries: 0,
      failed_recoveries: 0,
      recovery_success_rate: null,
    });
  });
});
