/** What it costs a process to keep the leases of 10,000 tasks alive, while none of them does anything. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { countCommands, row, show, startRedis, summary } from './harness.mjs';

const TASKS = 10_000;
/** The default. */
const LEASE_MS = 15_000;
const CHILD = fileURLToPath(import.meta.url);

/** Which part of a core this process works, in percent. */
async function share(windowMs) {
  const before = process.cpuUsage();
  const start = performance.now();
  await delay(windowMs);
  const { user, system } = process.cpuUsage(before);
  return (100 * (user + system)) / 1_000 / (performance.now() - start);
}

async function measure(port, windowMs) {
  const client = new Redis({ port });
  const recovery = createRecovery({
    storage: redisStorage(client),
    namespace: `beat-${process.pid}`,
    leaseMs: LEASE_MS,
  });
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  const task = recovery.withRecovery(
    async () => {
      await ended;
    },
    { name: 'waits' },
  );
  const first = await task.start();
  await delay(1_000);
  const idle = await share(windowMs);
  const started = [first];
  for (let from = 0; from < TASKS; from += 500)
    started.push(...(await Promise.all(Array.from({ length: 500 }, () => task.start()))));
  // A lease later each has been renewed at least once, and what that takes is compiled.
  await delay(LEASE_MS);
  const counter = countCommands(client);
  const busy = await share(windowMs);
  const commands = counter.text();
  counter.stop();
  end();
  await Promise.all(started.map(({ result }) => result));
  await recovery.shutdown();
  client.disconnect();
  process.send({ idle, busy, commands });
}

export async function heartbeats({ quick }) {
  const redis = await startRedis();
  try {
    const found = [];
    for (let round = 0; round < (quick ? 1 : 3); round += 1) {
      const child = fork(CHILD, [String(redis.port), quick ? '10000' : '20000']);
      const [result] = await once(child, 'message');
      found.push(result);
      if (child.exitCode === null) await once(child, 'exit');
    }
    const busy = summary(found.map((each) => each.busy));
    const idle = summary(found.map((each) => each.idle));
    return [
      {
        ...row(
          `heartbeats of ${TASKS.toLocaleString('en')} running tasks, % of one core`,
          show(busy, 2, ' %'),
          show(idle, 2, ' %'),
          busy.median - idle.median,
          { most: 2 },
        ),
        note: `the ratio is the difference; the floor is one running task; calls in a window: ${found[0].commands}`,
      },
    ];
  } finally {
    await redis.stop();
  }
}

if (process.argv[1] === CHILD) await measure(Number(process.argv[2]), Number(process.argv[3]));
