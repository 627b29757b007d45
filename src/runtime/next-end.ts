/** When there may be something new to take, if nobody dies before. */
import { indexes } from '../state/keys.js';
import type { Engine } from './engine.js';

/**
 * In how many ms the first lease or hand-over is over, if nothing happens before; Infinity without one.
 * @param sinceMs how long ago it was looked for those that are over: what has ended meanwhile counts, too
 */
export async function nextEnd(
  { store, handlers }: Pick<Engine, 'store' | 'handlers'>,
  names: ReadonlySet<string>,
  sinceMs: number,
): Promise<number> {
  const queues = [...names].flatMap((name) => {
    const handedOver = handlers.get(name)?.dispatch ? [indexes.inState('pending', name)] : [];
    return [indexes.inState('processing', name), ...handedOver];
  });
  const first = { from: { fromNow: -Math.ceil(sinceMs) }, limit: 1 };
  const looks = store.partitions.flatMap((partition) =>
    queues.map(async (index) => {
      const { entries, nowMs } = await store.range(partition, index, first);
      return (entries[0]?.score ?? Infinity) - nowMs;
    }),
  );
  return Math.min(...(await Promise.all(looks)), Infinity);
}
