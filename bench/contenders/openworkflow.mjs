// OpenWorkflow, on Postgres or on SQLite (which is `node:sqlite`, so on Node 24): runs and a worker; `step.run`.
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { OpenWorkflow } from 'openworkflow';
import { inLanes, oneByOne, PAYLOAD } from './shared.mjs';

async function backendOf({ url, folder }) {
  if (url !== undefined) {
    const { BackendPostgres } = await import('openworkflow/postgres');
    return BackendPostgres.connect(url);
  }
  const { BackendSqlite } = await import('openworkflow/sqlite');
  return BackendSqlite.connect(join(folder, 'openworkflow.db'));
}

export async function open(place) {
  const backend = await backendOf(place);
  const client = new OpenWorkflow({ backend });
  let taken = [];
  const checkpoint = (step, i) => step.run({ name: `step-${i}` }, async () => PAYLOAD);
  const flow = client.defineWorkflow({ name: 'bench' }, async ({ input, step }) => {
    if (input.alone) taken = await oneByOne(input.checkpoints, (i) => checkpoint(step, i));
    else for (let i = 0; i < input.checkpoints; i += 1) await checkpoint(step, i);
  });
  let ended = 0;
  /** It tells nobody of an end, so it is asked. */
  const completed = async (count) => {
    ended += count;
    for (;;) {
      const { completed: found } = await backend.countWorkflowRuns();
      if (found >= ended) return;
      await delay(5);
    }
  };
  const run = async (count, width, input) => {
    const worker = client.newWorker({ concurrency: width });
    if (input.checkpoints > 0) await inLanes(count, width, () => flow.run(input));
    const start = performance.now();
    await worker.start();
    if (input.checkpoints === 0) await inLanes(count, width, () => flow.run(input));
    await completed(count);
    const spent = performance.now() - start;
    await worker.stop();
    return spent;
  };
  return {
    tasks: (count, width, checkpoints) => run(count, width, { checkpoints }),
    async alone(checkpoints) {
      await run(1, 1, { checkpoints, alone: true });
      return taken;
    },
  };
}
