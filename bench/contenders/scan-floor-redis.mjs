// The floor of W4 on Redis: what is due, by its index, and a claim each.
import { Redis } from 'ioredis';

const ORPHANS = 100;
const CLAIM = `if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[2], 'owner', ARGV[3], 'lease', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[5])
return 1`;

export async function open({ port }) {
  const redis = new Redis({ host: '127.0.0.1', port });
  redis.defineCommand('floorClaim', { numberOfKeys: 2, lua: CLAIM });
  const write = async (id, status, score) => {
    await redis.hset(`scan:${id}`, { token: '1.nonce.0', status, owner: 'dead', lease: score });
    await redis.zadd(`scan:${status}`, score, id);
  };
  let round = 0;
  return {
    async load(from, count) {
      for (let i = from; i < from + count; i += 1_000) {
        const some = Array.from({ length: Math.min(1_000, from + count - i) }, (_, at) => i + at);
        await Promise.all(some.map((n) => write(`done-${n}`, 'completed', n)));
      }
    },
    async scan() {
      round += 1;
      const ids = Array.from({ length: ORPHANS }, (_, i) => `orphan-${round}-${i}`);
      await Promise.all(ids.map((id) => write(id, 'processing', Date.now() - 1_000)));
      const start = performance.now();
      const due = await redis.zrange('scan:processing', 0, Date.now(), 'BYSCORE', 'LIMIT', 0, ORPHANS);
      const lease = String(Date.now() + 3_600_000);
      const claim = (id) =>
        redis.floorClaim(`scan:${id}`, 'scan:processing', '1.nonce.0', '2.nonce.0', 'me', lease, id);
      const claimed = await Promise.all(due.map(claim));
      const taken = performance.now() - start;
      if (claimed.filter((one) => one === 1).length !== ORPHANS) throw new Error('Not all were claimed.');
      return taken;
    },
  };
}
