// DBOS: direct calls of a workflow; for checkpoints `runStep`.
import { DBOS } from '@dbos-inc/dbos-sdk';
import { inLanes, oneByOne, PAYLOAD } from './shared.mjs';

export async function open({ url }) {
  DBOS.setConfig({ name: 'bench', systemDatabaseUrl: url, logLevel: 'error', applicationVersion: '1' });
  const checkpoint = (i) => DBOS.runStep(async () => PAYLOAD, { name: `step-${i}` });
  const flow = DBOS.registerWorkflow(
    async (checkpoints) => {
      for (let i = 0; i < checkpoints; i += 1) await checkpoint(i);
    },
    { name: 'bench' },
  );
  let taken = [];
  const timed = DBOS.registerWorkflow(
    async (count) => {
      taken = await oneByOne(count, checkpoint);
    },
    { name: 'bench-alone' },
  );
  await DBOS.launch();
  return {
    tasks: (count, width, checkpoints) => inLanes(count, width, () => flow(checkpoints)),
    async alone(count) {
      await timed(count);
      return taken;
    },
  };
}
