import { describe, expect, it } from 'vitest';
import { Emitter } from '../../src/runtime/emitter.js';
import { trapUnhandledRejections } from './harness.js';

trapUnhandledRejections();

describe('Emitter', () => {
  it('tells those who listen to the kind, and those who listen to all', () => {
    const emitter = new Emitter(() => 12.7);
    const heard: string[] = [];
    expect(emitter.idle).toBe(true);
    const off = emitter.on('alert', ({ details }) => heard.push(`alert ${details['kind']}`));
    emitter.on('*', ({ event, timestamp }) => heard.push(`* ${event} ${timestamp}`));
    emitter.on('task_failed', () => heard.push('never'));
    emitter.alert('odd', { more: '1' });
    off();
    off();
    emitter.alert('odd');
    expect(heard).toEqual(['alert odd', '* alert 12', '* alert 12']);
  });

  it('knows what somebody listens to', () => {
    const emitter = new Emitter(() => 0);
    expect(emitter.hears('task_failed')).toBe(false);
    emitter.on('task_failed', () => {});
    expect([emitter.hears('task_failed'), emitter.hears('alert')]).toEqual([true, false]);
    emitter.on('*', () => {});
    expect(emitter.hears('alert')).toBe(true);
  });

  it('what a listener throws or rejects with reaches nobody', () => {
    const emitter = new Emitter(() => 0);
    const heard: string[] = [];
    emitter.on('*', () => {
      throw new Error('sync');
    });
    emitter.on('*', async () => {
      throw new Error('async');
    });
    emitter.on('*', () => heard.push('still told'));
    emitter.alert('x');
    expect(heard).toEqual(['still told']);
  });

  it.each(['', 'nonsense', 'constructor', '__proto__'])('refuses the kind %j', (kind) => {
    const emitter = new Emitter(() => 0);
    expect(() => Reflect.apply(emitter.on, emitter, [kind, () => {}])).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });

  it('refuses a listener that is no function', () => {
    const emitter = new Emitter(() => 0);
    expect(() => Reflect.apply(emitter.on, emitter, ['*', 'x'])).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });
});
