// BullMQ in W3: its documented step pattern, or the same jobs through rekindle/bullmq.
import { Queue, Worker } from 'bullmq';
import { config, done, enter, STEPS, steps, TASKS, taskIds, work } from './body.mjs';

const connection = { host: '127.0.0.1', port: config.port };

/** Where the job is stands in its data; its progress is what a user looks at. */
async function stepPattern(job) {
  const { id } = job.data;
  await enter(id);
  for (let { step } = job.data; step < STEPS; step += 1) {
    await work(id, step);
    await job.updateData({ ...job.data, step: step + 1 });
    await job.updateProgress(((step + 1) * 100) / STEPS);
  }
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
    namespace: config.name,
    concurrency: TASKS,
  });
  const processor = recoverableProcessor(
    recovery,
    async (ctx, { id }) => {
      await enter(id);
      for (const step of steps) await ctx.step(`step-${step}`, () => work(id, step));
    },
    { name: 'bench', taskId: ({ data }) => data.id },
  );
  if (config.restart) recovery.on('task_completed', ({ task_id: id }) => done(id));
  await recovery.runStartupRecovery();
  return processor;
}

const processor = config.recoverable ? await throughRekindle() : stepPattern;
const worker = new Worker(config.name, processor, { connection, concurrency: TASKS, ...config.options });
worker.on('error', () => {});
if (!config.recoverable) worker.on('completed', ({ data }) => done(data.id));
if (!config.restart) {
  const queue = new Queue(config.name, { connection });
  await queue.addBulk(taskIds.map((id) => ({ name: 'bench', data: { id, step: 0 } })));
}
