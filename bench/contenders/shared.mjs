/** What the contenders of W1 and W2 share. Each has `tasks(count, width, checkpoints)` and `alone(checkpoints)`. */

/** 200 characters as JSON. */
export const PAYLOAD = 'x'.repeat(198);

/** Runs `work` in `width` lanes, `count` times in all; resolves with the ms that it took. */
export async function inLanes(count, width, work) {
  const start = performance.now();
  let next = 0;
  const lane = async (_, at) => {
    while (next < count) {
      next += 1;
      await work(at);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return performance.now() - start;
}

/** The ms of each of `count` calls, one after another. */
export async function oneByOne(count, work) {
  const taken = [];
  for (let i = 0; i < count; i += 1) {
    const start = performance.now();
    await work(i);
    taken.push(performance.now() - start);
  }
  return taken;
}
