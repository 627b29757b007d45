/** A BullMQ worker that was frozen past its lock writes late: alone it overwrites, through rekindle it is refused. */
import { Queue } from 'bullmq';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { row, startRedis } from './harness.mjs';
import { messageOf, startNode } from './processes.mjs';

const OPTIONS = { lockDuration: 500, stalledInterval: 200 };
const WAIT_MS = 30_000;

/** How the late write went, and what is kept in the end. */
async function freeze(redis, recoverable) {
  const name = recoverable ? 'with' : 'without';
  const start = (holds) => {
    const config = { port: redis.port, name, recoverable, holds, options: OPTIONS };
    return startNode('workers/zombie.mjs', [JSON.stringify(config)]);
  };
  const first = start(true);
  await messageOf(first, (message) => message === 'held', WAIT_MS, 'zombie');
  first.child.kill('SIGSTOP');
  const second = start(false);
  await messageOf(second, (message) => message === 'completed', WAIT_MS, 'second worker');
  const written = messageOf(first, (message) => message.late !== undefined, WAIT_MS, 'zombie, late');
  first.child.kill('SIGUSR2');
  first.child.kill('SIGCONT');
  const { late } = await written;
  const kept = await keptBy(redis, name, recoverable);
  await first.kill9();
  await second.kill9();
  return { late, kept };
}

async function keptBy(redis, name, recoverable) {
  if (recoverable) {
    const recovery = createRecovery({ storage: redisStorage(redis.connect()), namespace: name });
    // A call under the same id and with the same input has the kept result, and runs nothing.
    const task = recovery.withRecovery(async () => 'nobody', { name: 'zombie', taskId: () => 'job-1' });
    const result = await task({});
    await recovery.shutdown();
    return result;
  }
  const queue = new Queue(name, { connection: { host: redis.host, port: redis.port } });
  const job = await queue.getJob('job-1');
  await queue.close();
  return job.data.by;
}

export async function zombie() {
  const redis = await startRedis();
  try {
    const plain = await freeze(redis, false);
    const ours = await freeze(redis, true);
    const text = ({ late, kept }) => `late write: ${late}; kept: of the ${kept} worker`;
    const refused = ours.late !== 'accepted' && ours.kept === 'second' ? 1 : 0;
    return [
      {
        ...row('BullMQ zombie: late writes refused', text(ours), text(plain), refused, { least: 1 }),
        note: 'a worker frozen past its lock, while a second one does its job; the floor is BullMQ alone',
      },
    ];
  } finally {
    await redis.stop();
  }
}
