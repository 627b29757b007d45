/** Whoever listens hears of a threshold once a crossing, whoever looks. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { settled } from '../support/manual-clock.js';
import { away, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc, ProcOptions } from './harness.js';
import { startQuietly } from './lab.js';

trapUnhandledRejections();

describe('an alert', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  const kinds = ({ heard }: Proc): string[] =>
    heard.flatMap(({ event, details: { kind, figure } }) =>
      event === 'alert' && kind?.startsWith('threshold') === true ? [`${kind} ${figure}`] : [],
    );

  /** Two that run, and a process that looks; `end` lets them end. */
  async function running(options: ProcOptions = {}): Promise<{
    looks: Proc;
    start: () => Promise<void>;
    end: () => Promise<void>;
  }> {
    const [works, looks] = [world.proc(), world.proc(options)];
    let ids = 0;
    const ends = new Set<() => void>();
    const task = works.recovery.withRecovery(() => new Promise<void>((resolve) => void ends.add(resolve)), {
      name: 'n',
      taskId: () => `t${(ids += 1)}`,
    });
    const end = async (): Promise<void> => {
      for (const each of ends) each();
      ends.clear();
      await settled();
    };
    return { looks, start: () => startQuietly(task), end };
  }

  it('comes once a crossing, not once a look, and tells when it is over', async () => {
    const { looks, start, end } = await running({ thresholds: { processing: 1 } });
    await start();
    await looks.recovery.health();
    expect(kinds(looks)).toEqual([]);
    await start();
    for (let count = 0; count < 3; count += 1) await looks.recovery.health();
    expect(kinds(looks)).toEqual(['threshold_crossed processing']);
    expect(looks.heard.at(-1)?.details).toEqual({
      kind: 'threshold_crossed',
      figure: 'processing',
      value: '2',
      threshold: '1',
    });
    await end();
    for (let count = 0; count < 3; count += 1) await looks.recovery.health();
    expect(kinds(looks)).toEqual(['threshold_crossed processing', 'threshold_cleared processing']);
    expect(looks.heard.at(-1)?.details).toEqual({
      kind: 'threshold_cleared',
      figure: 'processing',
      threshold: '1',
    });
    await start();
    await start();
    await Promise.all([looks.recovery.health(), looks.recovery.health()]);
    expect(kinds(looks)).toEqual([
      'threshold_crossed processing',
      'threshold_cleared processing',
      'threshold_crossed processing',
    ]);
    await end();
  });

  it('neither comes nor is taken back while the storage is away', async () => {
    const { looks, start, end } = await running({ thresholds: { processing: 0 } });
    await start();
    await looks.recovery.health();
    looks.line.down = away();
    await looks.recovery.health();
    looks.line.down = null;
    await looks.recovery.health();
    expect(kinds(looks)).toEqual(['threshold_crossed processing']);
    await end();
  });

  it('comes of the monitor alone, by its interval', async () => {
    const { looks, start, end } = await running({
      thresholds: { processing: 0 },
      monitorIntervalMs: 10_000,
    });
    await world.until(looks.recovery.runStartupRecovery());
    await start();
    await world.clock.advance(9_000);
    expect(kinds(looks)).toEqual([]);
    await world.clock.advance(1_000);
    expect(kinds(looks)).toEqual(['threshold_crossed processing']);
    await world.clock.advance(30_000);
    await end();
    expect(kinds(looks)).toEqual(['threshold_crossed processing']);
    await world.clock.advance(10_000);
    expect(kinds(looks)).toEqual(['threshold_crossed processing', 'threshold_cleared processing']);
  });

  it('comes for each figure of its own', async () => {
    const thresholds = { processing: 0, stalled: 0, oldestProcessingMs: 5_000 };
    const { looks, start, end } = await running({ thresholds, stuckAfterMs: 3_000 });
    const stuck = world.proc({ stuckAfterMs: 1_000 });
    const task = stuck.recovery.withRecovery(untilAborted, { name: 'other', taskId: () => 's' });
    await startQuietly(task);
    await start();
    await looks.recovery.health();
    expect(kinds(looks)).toEqual(['threshold_crossed processing']);
    await world.clock.advance(4_000);
    await looks.recovery.health();
    expect(kinds(looks).slice(1)).toEqual(['threshold_crossed stalled']);
    await world.clock.advance(2_000);
    const report = await looks.recovery.health();
    expect(kinds(looks).slice(2)).toEqual(['threshold_crossed oldest_processing']);
    expect(report.reasons.map(({ code }) => code)).toEqual(['stalled', 'processing', 'oldest_processing']);
    await end();
  });
});
