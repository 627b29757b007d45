/** Found by a random schedule: a process that freezes between its claim and its function must not begin when it wakes. */
import { expect, test } from 'vitest';
import type { Job } from './jobs.js';
import { simulate } from './world.js';

const SLOW: Job = { id: 'slow-0', kind: 'slow', worker: 0 };

test('frozen until another one has finished, it begins nothing', async () => {
  const { violations } = await simulate({
    seed: 1_345_989_156,
    workers: 2,
    jobs: [SLOW],
    faults: [
      { worker: 0, call: 75, kind: 'pause-after', ms: 2_500 },
      { worker: 1, call: 36, kind: 'pause-after', ms: 700 },
    ],
    partitions: 1,
    proofOfDeath: false,
    slots: false,
    singleOwner: true,
    script: [{ atMs: 699, run: (world): void => world.restart(0, 1_000) }],
  });
  expect(violations).toEqual([]);
});
