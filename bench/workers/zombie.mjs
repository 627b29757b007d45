// A worker of BullMQ that may be frozen in the middle of its job, with rekindle or without: `{ port, name, recoverable,
// holds, options }`. It tells its parent what it holds, and how its late write went.
import { Queue, Worker } from 'bullmq';

const { port, name, recoverable, holds, options } = JSON.parse(process.argv[2]);
const connection = { host: '127.0.0.1', port };
const by = holds ? 'zombie' : 'second';

/** The work between two writes: the first worker is frozen in it. */
async function work() {
  if (!holds) return by;
  const released = new Promise((resolve) => process.once('SIGUSR2', resolve));
  process.send('held');
  await released;
  return by;
}

async function written(write) {
  try {
    await write();
    if (holds) process.send({ late: 'accepted' });
  } catch (error) {
    if (holds) process.send({ late: error.code ?? error.message });
    throw error;
  }
}

async function plain(job) {
  const found = await work();
  await written(() => job.updateData({ ...job.data, by: found }));
  return found;
}

async function throughRekindle() {
  const [{ Redis }, { createRecovery }, { recoverableProcessor }, { redisStorage }] = await Promise.all([
    import('ioredis'),
    import('../../dist/index.js'),
    import('../../dist/bullmq.js'),
    import('../../dist/redis.js'),
  ]);
  const recovery = createRecovery({
    storage: redisStorage(new Redis(connection)),
    namespace: name,
    leaseMs: 1_000,
  });
  return recoverableProcessor(
    recovery,
    async (ctx) => {
      let found;
      await written(async () => {
        found = await ctx.step('work', work);
      });
      return found;
    },
    { name: 'zombie', recheckMs: 100, taskId: ({ id }) => id },
  );
}

const worker = new Worker(name, recoverable ? await throughRekindle() : plain, { connection, ...options });
worker.on('error', () => {});
worker.on('completed', () => process.send('completed'));
if (holds) await new Queue(name, { connection }).add('job', {}, { jobId: 'job-1' });
// The bench is gone, however it went.
process.once('disconnect', () => process.exit());
process.send('ready');
