import { afterEach, expect, test } from 'vitest';
import { createRecovery, memoryStorage } from '../../src/index.js';
import type { Recovery, Storage } from '../../src/index.js';
import { cli, moduleOf } from './cli.js';

const opened: Recovery[] = [];
afterEach(async () => {
  for (const recovery of opened.splice(0)) await recovery.shutdown({ timeoutMs: 100 });
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)(
  '%s ends a look that waits for its storage, and what that says later is nobody’s error',
  async (signal, code) => {
    const memory = memoryStorage();
    let refuse: (error: Error) => void = () => {};
    let send: (signal: 'SIGINT' | 'SIGTERM') => void = () => {};
    const storage: Storage = {
      ...memory,
      // The names of a namespace are a range; the plan asks for the clock behind them.
      read: (partition, keys, ...rest) => {
        if (!keys.includes('meta')) return memory.read(partition, keys, ...rest);
        looks += 1;
        if (looks === 1) return memory.read(partition, keys, ...rest);
        queueMicrotask(() => send(signal));
        return new Promise((_, reject) => (refuse = reject));
      },
    };
    let looks = 0;
    const recovery = createRecovery({ storage });
    opened.push(recovery);
    const ran = await cli(['plan', '--import', moduleOf(recovery)], { interrupt: (given) => (send = given) });
    expect(ran).toMatchObject({ code, stdout: '', stderr: '' });
    expect(looks).toBe(2);
    const unhandled: unknown[] = [];
    const trap = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', trap);
    refuse(new Error('late'));
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    process.off('unhandledRejection', trap);
    expect(unhandled).toEqual([]);
  },
);
