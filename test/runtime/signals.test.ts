import process from 'node:process';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { messageOf } from '../../src/errors.js';
import type { ShutdownOptions } from '../../src/runtime/recovery.js';
import { deferred } from '../../src/runtime/deferred.js';
import { handleSignals } from '../../src/runtime/signals.js';
import { settled } from '../support/manual-clock.js';
import { trapUnhandledRejections } from './harness.js';

trapUnhandledRejections();

type Signal = 'SIGTERM' | 'SIGINT' | 'SIGHUP' | 'SIGQUIT';
const SIGNALS: readonly Signal[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'];

const cleanUp: (() => void)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0)) each();
  await settled();
  vi.restoreAllMocks();
});

/** Nobody sends a signal for real: it is told, and what the process does to itself is only written down. */
function handling(options?: Parameters<typeof handleSignals>[1]) {
  const kills: unknown[][] = [];
  vi.spyOn(process, 'kill').mockImplementation((...given) => {
    kills.push(given);
    return true;
  });
  const calls: ShutdownOptions[] = [];
  const done = deferred<void>();
  const shutdown = (given: ShutdownOptions): Promise<void> => {
    calls.push(given);
    return done.promise;
  };
  const before = SIGNALS.map((signal) => process.listenerCount(signal));
  const listening = (): Signal[] =>
    SIGNALS.filter((signal, at) => process.listenerCount(signal) > (before[at] ?? 0));
  const off = options === undefined ? handleSignals(shutdown) : handleSignals(shutdown, options);
  // Ended before the next test, while `kill` is still a spy: shutdowns that go on hold each other's signals back.
  cleanUp.push(off, done.resolve);
  return { kills, calls, done, listening, off };
}

describe('handleSignals', () => {
  it('listens to SIGTERM and SIGINT, until it is taken off', () => {
    const { listening, off } = handling();
    expect(listening()).toEqual(['SIGTERM', 'SIGINT']);
    off();
    expect(listening()).toEqual([]);
    off();
  });

  it('listens to those that are named, and to no other', () => {
    expect(handling({ signals: ['SIGHUP', 'SIGQUIT'] }).listening()).toEqual(['SIGHUP', 'SIGQUIT']);
    expect(handling({ signals: [] }).listening()).toEqual([]);
  });

  it('shuts down on the first one, and ends the process by it afterwards', async () => {
    const { calls, kills, done, listening } = handling({ signals: ['SIGHUP', 'SIGQUIT'], timeoutMs: 70 });
    process.emit('SIGHUP', 'SIGHUP');
    expect(calls).toEqual([{ timeoutMs: 70 }]);
    // A second one does what it always did.
    expect(listening()).toEqual([]);
    await settled();
    expect(kills).toEqual([]);
    done.resolve();
    await settled();
    expect(kills).toEqual([[process.pid, 'SIGHUP']]);
    expect(calls).toHaveLength(1);
  });

  it('leaves the time to shut down to its default', () => {
    const { calls } = handling({ signals: ['SIGHUP'] });
    process.emit('SIGHUP', 'SIGHUP');
    expect(calls).toEqual([{}]);
  });

  it('ends the process also when the shutdown fails', async () => {
    const { kills, done } = handling({ signals: ['SIGHUP'] });
    process.emit('SIGHUP', 'SIGHUP');
    done.reject(new Error('no'));
    await settled();
    expect(kills).toEqual([[process.pid, 'SIGHUP']]);
  });

  it('lets the signal through only when all that shut down on it have ended', async () => {
    const [first, second] = [handling({ signals: ['SIGQUIT'] }), handling({ signals: ['SIGQUIT'] })];
    process.emit('SIGQUIT', 'SIGQUIT');
    first.done.resolve();
    await settled();
    expect(second.kills).toEqual([]);
    second.done.resolve();
    await settled();
    expect(second.kills).toEqual([[process.pid, 'SIGQUIT']]);
  });

  it('as the first process of a container it exits, since no signal ends that one', async () => {
    const { pid } = process;
    const exits: unknown[] = [];
    const { exit } = process;
    Reflect.set(process, 'exit', (code: unknown) => void exits.push(code));
    Object.defineProperty(process, 'pid', { value: 1, configurable: true });
    cleanUp.push(() => {
      Object.defineProperty(process, 'pid', { value: pid, configurable: true });
      Reflect.set(process, 'exit', exit);
    });
    const { kills, done } = handling({ signals: ['SIGTERM'] });
    process.emit('SIGTERM', 'SIGTERM');
    done.resolve();
    await settled();
    expect([exits, kills]).toEqual([[143], []]);
  });

  it('leaves the end to others who listen', async () => {
    const heard: string[] = [];
    const other = (): void => void heard.push('other');
    process.on('SIGHUP', other);
    cleanUp.push(() => process.off('SIGHUP', other));
    const { kills, done } = handling({ signals: ['SIGHUP'] });
    process.emit('SIGHUP', 'SIGHUP');
    done.resolve();
    await settled();
    expect([heard, kills]).toEqual([['other'], []]);
  });

  it.each<[unknown, string]>([
    [{ signals: ['SIGKILL'] }, '"signals" [0] must be one of'],
    [{ signals: 'SIGTERM' }, '"signals" must be a list'],
    [{ signals: ['SIGTERM', 15] }, '"signals" [1]'],
    [{ timeoutMs: -1 }, '"timeoutMs"'],
    [{ timeoutMs: 86_400_001 }, '"timeoutMs"'],
    [{ timeoutMs: '5s' }, '"timeoutMs"'],
    [{ timeout: 5 }, '"timeout" is no option'],
    ['SIGTERM', 'must be an object'],
  ])('refuses %j, and listens to nothing', (options, part) => {
    const before = SIGNALS.map((signal) => process.listenerCount(signal));
    let thrown: unknown;
    try {
      Reflect.apply(handleSignals, null, [async () => {}, options]);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'INVALID_OPTION' });
    expect(messageOf(thrown)).toContain('handleSignals: ');
    expect(messageOf(thrown)).toContain(part);
    expect(SIGNALS.map((signal) => process.listenerCount(signal))).toEqual(before);
  });
});
