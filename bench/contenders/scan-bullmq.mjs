// W4 of BullMQ: the pass of its stall check that moves 100 jobs without a lock back to wait; nothing is claimed yet.
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const ORPHANS = 100;

export async function open({ port }) {
  const connection = { host: '127.0.0.1', port };
  const redis = new Redis(connection);
  const queue = new Queue('scan', { connection });
  const worker = new Worker('scan', async () => {}, { connection, autorun: false, maxStalledCount: 1_000 });
  worker.on('error', () => {});
  await worker.waitUntilReady();
  const keyOf = (name) => `bull:scan:${name}`;
  const pass = async () => {
    // It looks once an interval only.
    await redis.del(keyOf('stalled-check'));
    const start = performance.now();
    await worker.moveStalledJobsToWait();
    return performance.now() - start;
  };
  return {
    async load(from, count) {
      for (let i = from; i < from + count; i += 1_000) {
        const some = Array.from({ length: Math.min(1_000, from + count - i) }, (_, at) => `done-${i + at}`);
        const fields = {
          name: 'bench',
          data: '{}',
          opts: '{}',
          timestamp: 1,
          finishedOn: 1,
          returnvalue: 'null',
        };
        await Promise.all(
          some.map((id) =>
            Promise.all([redis.hset(keyOf(id), fields), redis.zadd(keyOf('completed'), 1, id)]),
          ),
        );
      }
    },
    async scan() {
      await queue.addBulk(Array.from({ length: ORPHANS }, () => ({ name: 'bench', data: {} })));
      const jobs = [];
      while (jobs.length < ORPHANS) jobs.push(await worker.getNextJob('dead', { block: false }));
      await redis.del(jobs.map(({ id }) => keyOf(`${id}:lock`)));
      // The first pass marks, the second one moves.
      await pass();
      const taken = await pass();
      const { waiting } = await queue.getJobCounts('waiting');
      if (waiting !== ORPHANS) throw new Error(`${waiting} jobs were moved, not ${ORPHANS}.`);
      await queue.drain();
      return taken;
    },
  };
}
