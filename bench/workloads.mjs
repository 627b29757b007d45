/** W1: no-op tasks; W2: durable checkpoints. Whole systems side by side, each in a process of its own. */
import { CONTENDERS, floorOf, openContenders, SCANS } from './contenders.mjs';
import { median, row, show, summary, turns } from './harness.mjs';
import { table } from './table.mjs';

const WIDTH = 32;
const CHECKPOINTS = 10;
/** Rounds until the code of all is optimised. */
const WARM_UP = 2;
/** What the checks are about. */
const CHECKED = ['redis', 'redisFloor', 'redisSame', 'bullmq', 'sqlite', 'sqliteFloor', 'openworkflowSqlite'];

function percentile(values, part) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

const mapValues = (object, of) =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, of(value, key)]));

/** Opens all, or those that are wanted, and closes them whatever happens. */
async function withContenders(all, { only, check }, work) {
  const names = only ?? (check ? CHECKED : Object.keys(all));
  const wanted = Object.entries(all).filter(([name]) => names.includes(name));
  const contenders = await openContenders(Object.fromEntries(wanted));
  try {
    for (const system of contenders.missing) console.log(`${system}: not installed here, left out.`);
    return await work(contenders.open);
  } finally {
    await contenders.close();
  }
}

const linesOf = (found, count, which) =>
  Object.entries(found).map(([name, values]) => {
    const { system, store, asked } = CONTENDERS[name];
    return { system, store, asked: asked[which], rounds: count, values, floor: floorOf(CONTENDERS[name]) };
  });

/** A line of the checks: ours against another, by the medians of one column. */
function against(what, found, [ours, other], key, bound) {
  const [mine, theirs] = [found[ours][key], found[other][key]];
  const digits = theirs.median < 10 ? 3 : 0;
  return row(what, show(mine, digits), show(theirs, digits), mine.median / theirs.median, bound);
}

/** The checks among `lines` whose contenders are there. */
const possible = (found, lines) =>
  lines
    .filter(([, pair]) => pair.every((name) => name in found))
    .map(([what, ...rest]) => against(what, found, ...rest));

export async function noops(options) {
  const count = options.quick ? 3 : 7;
  const size = ({ heavy }) => (heavy ? 300 : options.quick ? 5_000 : 10_000);
  const found = await withContenders(CONTENDERS, options, async (open) => {
    const rates = await turns(
      count,
      mapValues(open, ({ call }, name) => async () => {
        const tasks = size(CONTENDERS[name]);
        return (tasks * 1_000) / (await call('tasks', tasks, WIDTH, 0));
      }),
      WARM_UP,
    );
    return mapValues(rates, (values) => ({ rate: summary(values) }));
  });
  const rows = [
    ...possible(found, [
      ['W1: no-op tasks/s on Redis, to the floor', ['redis', 'redisFloor'], 'rate', { least: 0.6 }],
      ['W1: no-op tasks/s on Redis, to BullMQ', ['redis', 'bullmq'], 'rate', { least: 4 }],
      [
        'W1: no-op tasks/s on Redis, to bare ioredis with the same records',
        ['redis', 'redisSame'],
        'rate',
        {},
      ],
    ]),
  ];
  const columns = [{ key: 'rate', name: 'tasks/s', ratio: true }];
  return {
    rows,
    table: table('w1', `W1: no-op tasks, ${WIDTH} at a time`, columns, linesOf(found, count, 0)),
  };
}

async function checkpointsOf(open, { quick, count }) {
  const part = quick ? 0.3 : 1;
  const rates = await turns(
    count,
    mapValues(open, ({ call }, name) => async () => {
      const tasks = CONTENDERS[name].heavy ? 100 * part : 1_000;
      return (tasks * CHECKPOINTS * 1_000) / (await call('tasks', tasks, WIDTH, CHECKPOINTS));
    }),
    WARM_UP,
  );
  const alone = await turns(
    count,
    mapValues(
      open,
      ({ call }, name) =>
        () =>
          call('alone', CONTENDERS[name].heavy ? 200 * part : 1_000),
    ),
  );
  return mapValues(rates, (values, name) => ({
    rate: summary(values),
    p50: summary(alone[name].map(median)),
    p99: summary(alone[name].map((list) => percentile(list, 0.99))),
  }));
}

export async function checkpoints(options) {
  const count = options.quick ? 3 : 7;
  const found = await withContenders(CONTENDERS, options, (open) =>
    checkpointsOf(open, { ...options, count }),
  );
  const rows = possible(found, [
    ['W2: checkpoints/s on Redis, to the floor', ['redis', 'redisFloor'], 'rate', { least: 0.7 }],
    ['W2: checkpoints/s on Redis, to BullMQ', ['redis', 'bullmq'], 'rate', { least: 3.5 }],
    ['W2: checkpoints/s on Redis, to bare ioredis with the same records', ['redis', 'redisSame'], 'rate', {}],
    ['W2: p50 ms alone on Redis, to the floor', ['redis', 'redisFloor'], 'p50', { most: 1.3 }],
    ['W2: checkpoints/s on SQLite, to the floor', ['sqlite', 'sqliteFloor'], 'rate', { least: 5 }],
    ['W2: checkpoints/s on SQLite, to OpenWorkflow', ['sqlite', 'openworkflowSqlite'], 'rate', { least: 15 }],
  ]);
  const columns = [
    { key: 'rate', name: `checkpoints/s, ${WIDTH} tasks at a time`, ratio: true },
    { key: 'p50', name: 'p50 ms, one at a time', ratio: true, digits: 3 },
    { key: 'p99', name: 'p99 ms', digits: 2 },
  ];
  const title = `W2: tasks of ${CHECKPOINTS} durable checkpoints of 200 characters`;
  return { rows, table: table('w2', title, columns, linesOf(found, count, 1)) };
}

const SIZES = [1_000, 10_000, 100_000];

/** W4: 100 orphans among more and more finished tasks in the same store. */
export async function scans(options) {
  const count = options.quick ? 3 : 7;
  const found = await withContenders(SCANS, options, async (open) => {
    const values = mapValues(open, () => ({}));
    let before = 0;
    for (const size of SIZES) {
      for (const { call } of Object.values(open)) await call('load', before, size - before);
      before = size;
      const taken = await turns(
        count,
        mapValues(
          open,
          ({ call }) =>
            () =>
              call('scan'),
        ),
      );
      for (const [name, list] of Object.entries(taken)) values[name][`n${size}`] = summary(list);
    }
    return values;
  });
  const flat = ['redis', 'sqlite'].flatMap((name) => {
    if (!(name in found)) return [];
    const { n1000: few, n100000: many } = found[name];
    const what = `W4: ${SCANS[name].system}, ms among 100,000 to ms among 1,000`;
    return [row(what, show(many, 1), show(few, 1), many.median / few.median, { most: 1.5 })];
  });
  const columns = SIZES.map((size) => ({
    key: `n${size}`,
    name: `${size.toLocaleString('en')}, ms`,
    digits: 1,
  }));
  const title = 'W4: 100 orphans found among N finished tasks';
  const lines = Object.entries(found).map(([name, values]) => {
    const { system, store, asked } = SCANS[name];
    return { system, store, asked, rounds: count, values, floor: floorOf(SCANS[name]) };
  });
  return { rows: flat, table: table('w4', title, columns, lines) };
}
