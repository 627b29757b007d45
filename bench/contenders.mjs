/** The contenders of W1 and W2, each in a process of its own; they take turns, and only one works at a time. */
import { AOF, startRedis, tempFolder } from './harness.mjs';
import { startPostgres } from './postgres.mjs';
import { messageOf, node24, startNode } from './processes.mjs';

const REDIS = 'Redis AOF everysec';
const SQLITE = 'SQLite WAL FULL';
const POSTGRES = 'Postgres, synchronous_commit on';
const FLOORS = { [REDIS]: 'floor, Redis', [SQLITE]: 'floor, SQLite', [POSTGRES]: 'floor, Postgres' };

/** `heavy`: so slow that a tenth of the tasks must do. `asked`: what it does in W1, and a checkpoint in W2. */
export const CONTENDERS = {
  redis: {
    system: 'rekindle, Redis',
    file: 'rekindle',
    store: REDIS,
    asked: ['call of a wrapped function', '`ctx.createCheckpoint` with 200 characters, in such a call'],
  },
  redisFloor: {
    system: FLOORS[REDIS],
    file: 'floor-redis',
    store: REDIS,
    asked: [
      'EVALSHA begin (EXISTS, HSET 3, ZADD) and EVALSHA done',
      'EVALSHA (fence, HSET 3, ZADD), no begin and done',
    ],
  },
  redisSame: {
    system: 'bare ioredis, the same records',
    file: 'floor-redis-same',
    store: REDIS,
    asked: [
      'an EVALSHA each for begin and done, with the fields, index entries and events that rekindle writes',
      'so, and an EVALSHA (fence, HSET of the record, HSET of the head) a checkpoint',
    ],
  },
  bullmq: {
    system: 'BullMQ',
    file: 'bullmq',
    store: REDIS,
    asked: ['`queue.add` and a worker', '`updateData` and `updateProgress`, in jobs of one `addBulk`'],
  },
  sqlite: {
    system: 'rekindle, SQLite',
    file: 'rekindle',
    store: SQLITE,
    asked: ['call of a wrapped function', '`ctx.createCheckpoint` with 200 characters, in such a call'],
  },
  sqliteFloor: {
    system: FLOORS[SQLITE],
    file: 'floor-sqlite',
    store: SQLITE,
    heavy: true,
    asked: [
      'INSERT and UPDATE, a transaction each',
      'one UPDATE (fence, 3 columns), a transaction of its own',
    ],
  },
  openworkflowSqlite: {
    system: 'OpenWorkflow, SQLite',
    file: 'openworkflow',
    store: SQLITE,
    heavy: true,
    node: 24,
    asked: ['`flow.run` and a worker, on Node 24', '`step.run`, in such a run'],
  },
  postgresFloor: {
    system: FLOORS[POSTGRES],
    file: 'floor-postgres',
    store: POSTGRES,
    asked: ['INSERT and UPDATE, prepared, pool of 10', 'one prepared UPDATE (fence, 3 columns)'],
  },
  dbos: {
    system: 'DBOS',
    file: 'dbos',
    store: POSTGRES,
    heavy: true,
    asked: ['direct call of a workflow', '`DBOS.runStep`, in such a call'],
  },
  openworkflow: {
    system: 'OpenWorkflow, Postgres',
    file: 'openworkflow',
    store: POSTGRES,
    heavy: true,
    asked: ['`flow.run` and a worker', '`step.run`, in such a run'],
  },
};

/** The contenders of W4. */
export const SCANS = {
  redis: {
    system: 'rekindle, Redis',
    file: 'scan-rekindle',
    store: REDIS,
    asked:
      '`planRecovery()`, `recover()`: half by a dead owner, half by the lease; claimed, run to their end',
  },
  redisFloor: {
    system: FLOORS[REDIS],
    file: 'scan-floor-redis',
    store: REDIS,
    asked: 'ZRANGE BYSCORE and 100 EVALSHA (fence, HSET 3, ZADD)',
  },
  bullmq: {
    system: 'BullMQ',
    file: 'scan-bullmq',
    store: REDIS,
    asked: 'the pass of its stall check that moves them to wait; none is claimed or run',
  },
  sqlite: {
    system: 'rekindle, SQLite',
    file: 'scan-rekindle',
    store: SQLITE,
    asked: 'as on Redis',
  },
  sqliteFloor: {
    system: FLOORS[SQLITE],
    file: 'scan-floor-sqlite',
    store: SQLITE,
    asked: 'SELECT by an index and 100 UPDATEs, a transaction each',
  },
  openworkflowSqlite: {
    system: 'OpenWorkflow, SQLite',
    file: 'scan-openworkflow',
    store: SQLITE,
    node: 24,
    asked: '100 claims, a transaction each; none is run',
  },
  dbos: {
    system: 'DBOS',
    file: 'scan-dbos',
    store: POSTGRES,
    asked: 'one UPDATE puts them into its recovery queue; none is claimed or run',
  },
};

export const floorOf = ({ store, system }) => {
  const floor = FLOORS[store];
  return floor === system ? null : floor;
};

async function openOne({ file, node, store }, places) {
  const execPath = node === 24 ? node24() : process.execPath;
  const place = places[store];
  if (execPath === null || place === null) return null;
  const running = startNode('contenders/child.mjs', [file, JSON.stringify(place)], { execPath });
  await messageOf(running, (message) => message === 'open', 60_000, file);
  return {
    async call(call, ...args) {
      const answer = messageOf(running, () => true, 120_000, `${file}, ${call}`);
      running.child.send({ call, args });
      const { value, error } = await answer;
      if (error !== undefined) throw new Error(`${file}: ${error}`);
      return value;
    },
    close: () => running.kill9(),
  };
}

/** Opens those of `contenders` that can be had here; `missing` names the others. */
export async function openContenders(contenders) {
  const names = Object.keys(contenders);
  const ends = [];
  const close = async () => {
    for (const end of ends.toReversed()) await end();
  };
  try {
    const folder = tempFolder();
    ends.push(folder.remove);
    // A rewrite of the log in the background would hit whoever has its turn.
    const redis = await startRedis([...AOF, '--auto-aof-rewrite-percentage', '0']);
    ends.push(redis.stop);
    const needed = names.some((name) => contenders[name].store === POSTGRES);
    const postgres = needed ? await startPostgres() : null;
    if (postgres !== null) ends.push(postgres.stop);
    const places = {
      [REDIS]: { port: redis.port },
      [SQLITE]: { folder: folder.path },
      [POSTGRES]: postgres && { url: postgres.url },
    };
    const open = {};
    for (const name of names) {
      const contender = await openOne(contenders[name], places);
      if (contender === null) continue;
      open[name] = contender;
      ends.push(contender.close);
    }
    return {
      open,
      missing: names.filter((name) => !(name in open)).map((name) => contenders[name].system),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
