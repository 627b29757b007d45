/**
 * What the workers of W3 have in common: 200 tasks of 10 steps of 20 ms, and a journal that outlives them. Their one
 * argument is a JSON text: `{ restart, journal, name, port, url, folder, ... }`.
 */
import { openSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

export const TASKS = 200;
export const STEPS = 10;
const STEP_MS = 20;

export const config = JSON.parse(process.argv[2]);
export const taskIds = Array.from({ length: TASKS }, (_, i) => `task-${i}`);
export const steps = Array.from({ length: STEPS }, (_, step) => step);

const file = openSync(config.journal, 'a');
const counts = { entered: 0, ended: 0, done: 0 };
let openGate;
const gate = new Promise((resolve) => (openGate = resolve));

/** One short synchronous append: the same few microseconds for everybody. */
function note(what, id, step = -1) {
  writeSync(file, `${what} ${process.pid} ${performance.timeOrigin + performance.now()} ${id} ${step}\n`);
}

/** The first line of a task. In the first process the tasks wait for each other, so that all are in flight. */
export async function enter(id) {
  note('enter', id);
  if (config.restart) return;
  counts.entered += 1;
  if (counts.entered === TASKS) openGate();
  await gate;
}

/** The body of a step. Half of them in the first process, and the harness is told to kill it. */
export async function work(id, step) {
  note('begin', id, step);
  await delay(STEP_MS);
  note('end', id, step);
  counts.ended += 1;
  if (!config.restart && counts.ended === (TASKS * STEPS) / 2) process.send('half');
  return step;
}

/** The end of the task is durable. */
export function done(id) {
  note('done', id);
  counts.done += 1;
  if (config.restart && counts.done === TASKS) process.send('all');
}

/** For systems that tell nobody: asks `countDone` every 20 ms whether all are through. */
export async function watch(countDone) {
  if (!config.restart) return;
  while ((await countDone()) < TASKS) await delay(20);
  for (const id of taskIds) done(id);
}
