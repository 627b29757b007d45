/** What a recovery would do, without doing any of it. */
import { isRecoveryError, RecoveryError } from '../errors.js';
import type { Plan } from '../domain/task.js';
import type { Head } from '../state/head.js';
import { isCorruption } from '../state/store.js';
import { orphaningOf } from './charges.js';
import { unhandledOf } from './discovery.js';
import type { Discovery, Unhandled } from './discovery.js';
import type { Engine } from './engine.js';
import { readHeads } from './heads.js';
import type { Candidate, Freed, OrphanFinder } from './orphans.js';
import { queueOrder } from './recovery-queue.js';
import type { Queued } from './recovery-queue.js';
import { examine, inputTextOf, planFor } from './snapshot.js';
import { heldBack } from './submitter.js';

/** What would become of one task. */
export interface PlannedRecovery {
  readonly taskId: string;
  readonly name: string;
  readonly decision: Plan['action'];
  readonly reason: string;
  readonly evidence: Plan['evidence'];
  /** The strategy that decided. */
  readonly strategy: string;
  /** Whether it would be handed to the queue (`dispatch`), and run by whoever takes its job. */
  readonly dispatched: boolean;
}

/** Tasks that are looked at at once: each takes a few reads, and perhaps a question to the user's queue. */
const AT_ONCE = 50;

/** Plans in the order in which the tasks are taken up; first those that have not been found before. */
export async function plan(
  engine: Engine,
  discovery: Discovery,
  finder: OrphanFinder,
  judgeLeases: boolean,
): Promise<PlannedRecovery[]> {
  const names = discovery.namesOf({});
  const planned: PlannedRecovery[] = [];
  const seen = new Set<string>();
  const dead = await finder.deadWorkers(true);
  for await (const { candidates } of finder.find(names, dead, judgeLeases)) {
    const found = candidates.filter((each) => each.kind === 'corrupt' || isNew(each.head.task.taskId, seen));
    for (const some of inGroups(found))
      planned.push(...(await Promise.all(some.map((each) => candidate(engine, each)))));
  }
  const queue: Queued[] = [];
  for await (const queued of queueOrder(engine.store, names)) queue.push(queued);
  for (const some of inGroups(queue))
    planned.push(...(await Promise.all(some.map((each) => waiting(engine, each)))).flat());
  for await (const unhandled of discovery.unhandled({}))
    if (!seen.has(unhandled.taskId)) planned.push(leftAlone(unhandled));
  return planned;
}

function isNew(taskId: string, seen: Set<string>): boolean {
  return seen.size < seen.add(taskId).size;
}

function inGroups<T>(list: readonly T[]): T[][] {
  const starts = Array.from({ length: Math.ceil(list.length / AT_ONCE) }, (_, group) => group * AT_ONCE);
  return starts.map((from) => list.slice(from, from + AT_ONCE));
}

async function candidate(engine: Engine, found: Candidate): Promise<PlannedRecovery> {
  if (found.kind === 'corrupt') return unreadable(found.taskId, found.name ?? '', found.error);
  if (found.kind === 'unhandled') return leftAlone(unhandledOf(found.head.task));
  return planOf(engine, found.head, found);
}

/** One of the recovery queue; none, when it is gone by now or runs here. */
async function waiting(engine: Engine, { partition, taskId, name }: Queued): Promise<PlannedRecovery[]> {
  if (engine.flights.has(taskId)) return [];
  const [head = null] = await readHeads(engine.store, partition, [taskId]);
  if (head === null) return [];
  if (head instanceof Error) return [unreadable(taskId, name, head)];
  return [await planOf(engine, head, { cause: head.task.orphanCause ?? 'lease_over', ownerSuspects: 0 })];
}

async function planOf(engine: Engine, head: Head, { cause, ownerSuspects }: Freed): Promise<PlannedRecovery> {
  const { taskId, name } = head.task;
  const handler = engine.handlers.get(name);
  try {
    // Only names with a function are looked at.
    if (handler === undefined) throw new RecoveryError('CORRUPT_RECORD', 'its head names another function');
    await inputTextOf(engine, head);
    const { crashes } = orphaningOf(engine, handler, head, cause, ownerSuspects);
    const { snapshot } = await examine(engine, handler, head, cause, crashes);
    const { action, reason, evidence, strategy } = planFor(engine, handler, snapshot);
    const planned = { taskId, name, evidence: { ...evidence, cause }, strategy };
    const queue = action === 'skip' || action === 'dead_letter' ? null : handler.dispatch;
    const held = queue === null ? null : await heldBack(engine, queue, head, cause);
    if (held !== null) return { ...planned, decision: 'skip', reason: held.reason, dispatched: false };
    return { ...planned, decision: action, reason, dispatched: queue !== null };
  } catch (error) {
    if (isRecoveryError(error, 'CODEC_FAILED') || isCorruption(error)) return unreadable(taskId, name, error);
    throw error;
  }
}

function leftAlone({ taskId, name, reason }: Unhandled): PlannedRecovery {
  return { taskId, name, decision: 'skip', reason, evidence: {}, strategy: 'none', dispatched: false };
}

function unreadable(taskId: string, name: string, error: RecoveryError): PlannedRecovery {
  return leftAlone({ taskId, name, reason: `${error.code}: ${error.message}` });
}
