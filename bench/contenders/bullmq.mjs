// BullMQ: add and worker; for checkpoints its documented step pattern, updateData and updateProgress.
import { Queue, Worker } from 'bullmq';
import { inLanes, oneByOne, PAYLOAD } from './shared.mjs';

export async function open({ port }) {
  const connection = { host: '127.0.0.1', port };
  const queue = new Queue('bench', { connection });
  const checkpoint = async (job, i) => {
    await job.updateData({ ...job.data, step: i + 1, kept: PAYLOAD });
    await job.updateProgress((i * 10) % 100);
  };
  const process = async (job) => {
    for (let i = 0; i < job.data.checkpoints; i += 1) await checkpoint(job, i);
  };
  const newWorker = (concurrency, processor) => {
    const worker = new Worker('bench', processor, { connection, concurrency, autorun: false });
    worker.on('error', () => {});
    return worker;
  };
  const completed = (worker, count) =>
    new Promise((resolve) => {
      let left = count;
      worker.on('completed', () => {
        left -= 1;
        if (left === 0) resolve();
      });
    });
  const data = (checkpoints) => ({ checkpoints, step: 0 });
  /** With checkpoints the jobs are there before; without, adding them is part of the work. */
  const tasks = async (count, width, checkpoints) => {
    const worker = newWorker(width, process);
    await worker.waitUntilReady();
    if (checkpoints > 0) {
      await queue.addBulk(Array.from({ length: count }, () => ({ name: 'bench', data: data(checkpoints) })));
    }
    const start = performance.now();
    const all = completed(worker, count);
    void worker.run();
    if (checkpoints === 0) await inLanes(count, width, () => queue.add('bench', data(0)));
    await all;
    const taken = performance.now() - start;
    await worker.close();
    return taken;
  };
  const alone = async (count) => {
    let taken = [];
    const worker = newWorker(1, async (job) => {
      taken = await oneByOne(count, (i) => checkpoint(job, i));
    });
    const all = completed(worker, 1);
    await queue.add('bench', data(0));
    void worker.run();
    await all;
    await worker.close();
    return taken;
  };
  return { tasks, alone };
}
