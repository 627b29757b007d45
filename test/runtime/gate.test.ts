import { describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { Gate } from '../../src/runtime/gate.js';

const reason = new RecoveryError('TASK_CANCELLED', 'stop');
const coded = (code: string): unknown => expect.objectContaining({ code });

describe('a gate', () => {
  it('lets everything through at first', () => {
    const gate = new Gate('t');
    expect(() => gate.assertUsable()).not.toThrow();
    expect(() => gate.assertWritable()).not.toThrow();
    expect(gate).toMatchObject({ stop: null, closed: false, lost: false, halted: null });
    expect(gate.signal().aborted).toBe(false);
    expect(gate.signal()).toBe(gate.signal());
  });

  it('that is stopped throws its reason, and its signal aborts with it', () => {
    const gate = new Gate('t');
    const signal = gate.signal();
    gate.stopWith(reason);
    expect(() => gate.assertUsable()).toThrow(reason);
    expect(() => gate.assertWritable()).toThrow(reason);
    expect(gate.stop).toBe(reason);
    expect([signal.aborted, signal.reason]).toEqual([true, reason]);
  });

  it('a signal that is asked for after the stop has aborted', () => {
    const gate = new Gate('t');
    gate.stopWith(reason);
    expect([gate.signal().aborted, gate.signal().reason]).toEqual([true, reason]);
  });

  it('that is closed throws CONTEXT_CLOSED, with its task; the reason of a stop comes first', () => {
    const gate = new Gate('task-7');
    const signal = gate.signal();
    gate.close();
    expect(gate.closed).toBe(true);
    expect(() => gate.assertUsable()).toThrow(coded('CONTEXT_CLOSED'));
    expect(() => gate.assertWritable()).toThrow('"task-7"');
    expect([gate.stop, signal.aborted]).toEqual([null, false]);
    gate.stopWith(reason);
    expect(() => gate.assertWritable()).toThrow(reason);
  });
});

describe('a gate that is to yield', () => {
  it('stops at the next call that begins something; what is done may still be kept', () => {
    const gate = new Gate('t');
    const signal = gate.signal();
    gate.yield();
    expect(gate.stop).toBeNull();
    expect(() => gate.assertWritable()).not.toThrow();
    expect(gate.stop).toBeNull();
    expect(() => gate.assertUsable()).toThrow(coded('SHUT_DOWN'));
    expect(gate.yielded).toMatchObject({ code: 'SHUT_DOWN', retryable: true });
    expect(gate.stop).toBeNull();
    // Another branch of the task that is in the middle of something.
    expect(() => gate.assertWritable()).not.toThrow();
    expect([signal.aborted, new Gate('u').signal().aborted]).toEqual([false, false]);
  });

  it('a signal that is asked for after it yielded is quiet, too', () => {
    const gate = new Gate('t');
    gate.yield();
    expect(() => gate.assertUsable()).toThrow(coded('SHUT_DOWN'));
    expect(gate.signal().aborted).toBe(false);
  });

  it('throws the same reason from then on', () => {
    const gate = new Gate('t');
    gate.yield();
    expect(() => gate.assertUsable()).toThrow(coded('SHUT_DOWN'));
    const { yielded } = gate;
    gate.yield();
    expect(() => gate.assertUsable()).toThrow(coded('SHUT_DOWN'));
    expect(gate.yielded).toBe(yielded);
  });

  it('keeps an earlier reason', () => {
    const gate = new Gate('t');
    gate.stopWith(reason);
    gate.yield();
    expect(() => gate.assertUsable()).toThrow(reason);
    expect(gate.stop).toBe(reason);
  });

  it('a later stop still aborts its signal', () => {
    const gate = new Gate('t');
    const signal = gate.signal();
    gate.yield();
    expect(() => gate.assertUsable()).toThrow();
    gate.stopWith(reason);
    expect([gate.stop, signal.reason]).toEqual([reason, reason]);
  });

  it('once its end is written it is closed, not shut down', () => {
    const gate = new Gate('t');
    gate.yield();
    gate.close();
    expect(() => gate.assertUsable()).toThrow(coded('CONTEXT_CLOSED'));
    expect(gate.stop).toBeNull();
  });
});
