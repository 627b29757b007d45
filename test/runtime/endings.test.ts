/** Ends that a first user met: followers of events, deaf functions, tasks that nobody here can run. */
import { afterEach, describe, expect, it } from 'vitest';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { settled } from '../support/manual-clock.js';

trapUnhandledRejections();
let world = new World();
afterEach(async () => {
  await world.end();
  world = new World();
});

describe('after shutdown', () => {
  it('followers of events have ended', async () => {
    const { recovery } = world.proc();
    await recovery.withRecovery(() => 1, { name: 'n' })();
    const seen: string[] = [];
    const follower = (async () => {
      for await (const { event } of recovery.events()) seen.push(event);
    })();
    await settled();
    await world.until(recovery.shutdown());
    await world.until(follower);
    expect(seen).toEqual(['task_started', 'task_completed']);
  });

  it('the callers of a function that is deaf to its signal are told', async () => {
    const { recovery } = world.proc();
    const deaf = recovery.withRecovery(() => new Promise(() => {}), { name: 'deaf' });
    const call = rejectionOf(deaf());
    await settled();
    await world.until(recovery.shutdown({ timeoutMs: 500 }));
    expect(await world.until(call)).toMatchObject({ code: 'SHUT_DOWN' });
  });
});

describe('a storage whose close hangs', () => {
  it('does not make shutdown outlast its deadline', async () => {
    const { recovery } = world.proc({ over: { ...world.memory, close: () => new Promise(() => {}) } });
    await recovery.withRecovery(() => 1, { name: 'n' })();
    const started = world.clock.monotonicMs();
    await world.until(recovery.shutdown({ timeoutMs: 500 }));
    expect(world.clock.monotonicMs() - started).toBe(500);
  });
});

describe('a dead worker whose task has no function here', () => {
  it('is told of by the plan and by the report, once each, and its task is left alone', async () => {
    const dead = world.proc({ born: '1' });
    void dead.recovery.withRecovery(() => new Promise(() => {}), { name: 'x', taskId: () => 'lonely' })();
    await settled();
    dead.crash();
    const { recovery } = world.proc({ born: '2' });
    const left = { taskId: 'lonely', name: 'x', reason: expect.stringContaining('NO_HANDLER') };
    expect(await recovery.planRecovery()).toMatchObject([{ ...left, decision: 'skip' }]);
    const report = await world.until((await recovery.recover()).finished);
    expect(report).toMatchObject({ recovered: 0, skipped: 1, tasks: [{ ...left, outcome: 'skipped' }] });
    await world.clock.advance(60_000);
    expect(await recovery.planRecovery()).toMatchObject([left]);
    expect(await recovery.tasks.get('lonely')).toMatchObject({ status: 'processing', attempt: 1 });
  });
});

function fail(): never {
  throw new Error('no idea');
}

describe('a validate hook', () => {
  it.each([
    ['throws', fail],
    ['answers nonsense', () => JSON.parse('"maybe"')],
  ])('that %s is alerted, and the task resumed', async (_how, validate) => {
    const dead = world.proc({ born: '1' });
    const options = { name: 'n', taskId: () => 't', validate };
    void dead.recovery.withRecovery(async (ctx) => {
      await ctx.createCheckpoint({ name: 'nearly', progressPercent: 99 });
      await new Promise(() => {});
    }, options)();
    await settled();
    dead.crash();
    const { recovery, heard } = world.proc({ born: '2' });
    recovery.withRecovery((ctx) => Promise.resolve(ctx.resumedFrom?.name), options);
    await world.until((await recovery.recover()).finished);
    expect(heard.filter(({ details }) => details['kind'] === 'validate_failed')).toHaveLength(1);
    expect(await recovery.tasks.get('t')).toMatchObject({ status: 'completed' });
  });
});

describe('a validate hook that never answers', () => {
  it('holds up neither the shutdown nor the task: it is given back', async () => {
    const dead = world.proc({ born: '1' });
    const options = { name: 'n', taskId: () => 't', validate: () => new Promise<never>(() => {}) };
    void dead.recovery.withRecovery(async (ctx) => {
      await ctx.createCheckpoint({ name: 'nearly', progressPercent: 99 });
      await new Promise(() => {});
    }, options)();
    await settled();
    dead.crash();
    const { recovery } = world.proc({ born: '2' });
    let ran = 0;
    recovery.withRecovery(() => (ran += 1), options);
    const run = await recovery.recover();
    await world.until(recovery.shutdown({ timeoutMs: 500 }));
    expect((await world.until(run.finished)).tasks).toMatchObject([{ taskId: 't', outcome: 'released' }]);
    expect(ran).toBe(0);
  });
});

describe('looking at a namespace of another layout', () => {
  it('is refused, not answered with nothing', async () => {
    const { recovery } = world.proc();
    await recovery.withRecovery(() => 1, { name: 'n', taskId: () => 't' })();
    const other = world.proc({ over: { ...world.memory, partitions: 4 } }).recovery;
    const mismatch = { code: 'LAYOUT_MISMATCH' };
    expect(await rejectionOf(other.tasks.get('t'))).toMatchObject(mismatch);
    expect(await rejectionOf(other.tasks.list())).toMatchObject(mismatch);
    expect(await rejectionOf(other.tasks.counts())).toMatchObject(mismatch);
    expect(await rejectionOf(other.checkpoints.latest('t'))).toMatchObject(mismatch);
    expect(await rejectionOf(other.events()[Symbol.asyncIterator]().next())).toMatchObject(mismatch);
  });
});
