/** A map of no-op items on Redis, against one bare EVALSHA an item that writes the same, as many at once. */
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { countCommands, rounds, row, show, startRedis, throughput } from './harness.mjs';

const ITEMS = 10_000;
const WIDTH = 32;
const KEYS = Array.from({ length: ITEMS }, (_, index) => `item-${index}`);

/** The floor: the fence, and the item's entry. */
const FLOOR = `if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1`;

/** Both sides write into records of their own each round, so that none grows. */
function floorOf(redis) {
  const client = redis.connect();
  client.defineCommand('floorItem', { numberOfKeys: 2, lua: FLOOR });
  let round = 0;
  return async () => {
    round += 1;
    const ledger = `floor:ledger:${round}`;
    await client.hset('floor:head', 'token', '1.nonce.0');
    let next = 0;
    return throughput(WIDTH, Math.floor(ITEMS / WIDTH), async () => {
      const key = KEYS[next];
      next += 1;
      await client.floorItem('floor:head', ledger, '1.nonce.0', key, 'd');
    });
  };
}

function mapOf(recovery) {
  const task = recovery.withRecovery(
    async (ctx) => {
      const start = performance.now();
      await ctx.map('items', KEYS, async () => {}, { key: (key) => key, concurrency: WIDTH });
      return (ITEMS * 1_000) / (performance.now() - start);
    },
    { name: 'bench-map' },
  );
  return () => task();
}

export async function redisMap({ quick }) {
  const redis = await startRedis();
  try {
    const client = redis.connect();
    const recovery = createRecovery({ storage: redisStorage(client) });
    const map = mapOf(recovery);
    const { ours, floor } = await rounds(quick ? 5 : 15, { ours: map, floor: floorOf(redis) });
    const counter = countCommands(client);
    await map();
    counter.stop();
    await recovery.shutdown();
    return [
      {
        ...row(
          `Redis: items/s of a map of ${ITEMS}, ${WIDTH} at a time`,
          show(ours),
          show(floor),
          ours.median / floor.median,
          { least: 1.5 },
        ),
        note: `calls in a map of ${ITEMS}: ${counter.text()}`,
      },
    ];
  } finally {
    await redis.stop();
  }
}
