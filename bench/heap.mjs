/** What a running task costs in heap: 10,000 of them await; their records are in Redis. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { Redis } from 'ioredis';
import { row, show, startRedis, summary } from './harness.mjs';

const TASKS = 10_000;
const CHILD = fileURLToPath(import.meta.url);

function heapUsed() {
  for (let i = 0; i < 4; i += 1) globalThis.gc();
  return process.memoryUsage().heapUsed;
}

/** Bytes a task of `start`, which resolves once it runs. */
async function bytesPerTask(start) {
  const running = [];
  const before = heapUsed();
  for (let first = 0; first < TASKS; first += 500) {
    running.push(...(await Promise.all(Array.from({ length: 500 }, (_, i) => start(first + i)))));
  }
  const bytes = (heapUsed() - before) / TASKS;
  if (running.length !== TASKS) throw new Error('Not all tasks were started.');
  return bytes;
}

async function measure(port) {
  const client = new Redis({ port });
  const recovery = createRecovery({ storage: redisStorage(client), namespace: `heap-${process.pid}` });
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  const body = async () => {
    await ended;
  };
  const task = recovery.withRecovery(async (_ctx, _id) => body(), { name: 'heap', taskId: (id) => id });
  const first = await task.start('first');
  const ours = await bytesPerTask((i) => task.start(`task-${i}`));
  // Whatever a task awaits and whoever awaits it exist without the library, too.
  const bare = await bytesPerTask(async (i) => ({ taskId: `task-${i}`, result: body() }));
  end();
  await first.result;
  await recovery.shutdown();
  client.disconnect();
  process.send({ ours, bare });
}

export async function heapPerTask({ quick }) {
  const redis = await startRedis(['--appendonly', 'no']);
  try {
    const found = [];
    for (let round = 0; round < (quick ? 1 : 3); round += 1) {
      const child = fork(CHILD, [String(redis.port)], { execArgv: ['--expose-gc'] });
      const [result] = await once(child, 'message');
      found.push(result);
      if (child.exitCode === null) await once(child, 'exit');
    }
    const ours = summary(found.map((each) => each.ours));
    const bare = summary(found.map((each) => each.bare));
    const kib = (ours.median - bare.median) / 1024;
    return [
      {
        ...row(`heap a running task, ${TASKS} await`, show(ours, 0, ' B'), show(bare, 0, ' B'), kib, {
          most: 4,
        }),
        note: 'the ratio is the difference in KiB; the floor is a bare async function that awaits',
      },
    ];
  } finally {
    await redis.stop();
  }
}

if (process.argv[1] === CHILD) await measure(Number(process.argv[2]));
