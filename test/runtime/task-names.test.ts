import { describe, expect, it, vi } from 'vitest';
import { TaskNames } from '../../src/runtime/task-names.js';
import type { RecordWriter } from '../../src/state/record-writer.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

function lab() {
  const clock = new ManualClock();
  const writes: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const write = (): Promise<number> =>
    new Promise((resolve, reject) => writes.push({ resolve: () => resolve(0), reject }));
  const writer: RecordWriter = Object.assign(Object.create(null), { write });
  const schedule = vi.spyOn(clock, 'schedule');
  const names = new TaskNames(clock, () => 1000);
  return { clock, writer, writes, schedule, names };
}

describe('TaskNames', () => {
  it('writes a name once, and sets no timer for one that is known', async () => {
    const { names, writer, writes, schedule } = lab();
    const first = names.ensure('a', writer);
    const second = names.ensure('a', writer);
    writes[0]?.resolve();
    await Promise.all([first, second]);
    schedule.mockClear();
    await names.ensure('a', writer);
    expect(writes).toHaveLength(1);
    expect(schedule).not.toHaveBeenCalled();
  });

  it('writes it again after a failure, and after all were forgotten', async () => {
    const { names, writer, writes } = lab();
    const failed = names.ensure('a', writer);
    writes[0]?.reject(new Error('no'));
    await expect(failed).rejects.toThrow('no');
    const second = names.ensure('a', writer);
    names.clear();
    const third = names.ensure('a', writer);
    writes[1]?.reject(new Error('an older record'));
    await expect(second).rejects.toThrow('an older record');
    writes[2]?.resolve();
    await third;
    await names.ensure('a', writer);
    expect(writes).toHaveLength(3);
  });

  it('refuses a start when the storage does not take the name in time', async () => {
    const { clock, names, writer } = lab();
    const refused = expect(names.ensure('a', writer)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: true,
    });
    await clock.advance(1000);
    await refused;
  });
});
