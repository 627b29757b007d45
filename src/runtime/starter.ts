/** A call of a wrapped function: start a new task, join one, take an orphan back, or return a kept result. */
import { sleep } from '../clock.js';
import { RecoveryError } from '../errors.js';
import { toJsonText } from '../domain/json.js';
import { decodeHead } from '../state/head.js';
import { keys } from '../state/keys.js';
import { refusalError } from '../state/record-writer.js';
import { localEvent } from '../state/task-events.js';
import { createBatch } from '../state/transitions.js';
import type { NewTask } from '../state/transitions.js';
import { checkId } from '../domain/ids.js';
import { claim } from './claims.js';
import { changing } from './commits.js';
import type { Engine, Handler } from './engine.js';
import { assertOpen, notAfter } from './engine.js';
import { firstAttempt } from './first-attempt.js';
import type { Begun } from './first-attempt.js';
import { isReady } from './flights.js';
import { keptResult } from './kept-result.js';
import type { OrphanFinder } from './orphans.js';
import { purge } from './purging.js';
import { pollMs, Retries } from './retries.js';
import type { FirstStart, Started, StartedClaim } from './retries.js';
import type { Slots } from './slots.js';
import { assertSameInput, assertSameName, trimmed } from './same-task.js';
import { inputTextOf } from './snapshot.js';
import { watched } from './watching.js';
import { beginSubmitted, isSubmitted, queueOf, sendAgain, submit } from './submitter.js';
import { failedElsewhere, gaveUpError, notFound, runningError, unstorableError } from './task-errors.js';

interface Call {
  readonly handler: Handler;
  readonly taskId: string;
  /** JSON text of the arguments; null: whatever is stored. */
  readonly inputText: string | null;
  /** The arguments as the function gets them. */
  readonly args: readonly unknown[];
  /** JSON text of the caller's context. */
  readonly userText: string | null;
}

/** What a call brings. */
export interface CallInput {
  /** The arguments as they are stored. */
  readonly raw: readonly unknown[];
  /** The arguments as the function gets them. */
  readonly parsed: readonly unknown[];
  /** What the `userContext` option gave. */
  readonly userContext: unknown;
}

/** Tries before a call gives up on a record that changes under its hands each time. */
const TRIES = 50;

export class Starter {
  readonly #engine: Engine;
  readonly #finder: OrphanFinder;

  constructor(engine: Engine, finder: OrphanFinder) {
    this.#engine = engine;
    this.#finder = finder;
  }

  /** Resolves once the task is durable and running, here or, when joined, elsewhere. */
  start(handler: Handler, taskId: string, input: CallInput): Promise<Started> {
    return this.#land(this.#callOf(handler, taskId, input), true);
  }

  /** `creates`: whether a task that there is none of is made. */
  async #land(call: Call, creates: boolean): Promise<Started> {
    const { handler, taskId, inputText } = call;
    for (let tries = 0; tries < TRIES; tries += 1) {
      assertOpen(this.#engine);
      const flight = this.#engine.flights.get(taskId);
      if (flight !== undefined) {
        if (handler.ifRunning === 'reject') throw runningError(taskId, this.#engine.worker.incarnation);
        assertSameName(taskId, flight.name, handler.name);
        if (!(await isReady(flight, creates))) continue;
        if (flight.inputText !== null && inputText !== null)
          assertSameInput(taskId, flight.inputText, inputText);
        return { result: flight.result };
      }
      const taken = await this.#takeOff(call, creates, creates && tries === 0);
      if (taken === 'running') {
        await sleep(this.#engine.clock, pollMs(this.#engine));
        tries = 0;
      } else if (taken !== 'again') return taken;
    }
    throw changing(taskId);
  }

  /** Resolves once the task is durable and on its way into the queue; one that was begun before is left alone. */
  async submit(handler: Handler, taskId: string, input: CallInput): Promise<void> {
    assertOpen(this.#engine);
    const queue = queueOf(handler);
    const call = this.#callOf(handler, taskId, input);
    await this.#engine.worker.ensureName(handler.name, handler.retentionMs);
    for (let tries = 0; tries < TRIES; tries += 1) {
      if (await submit(this.#engine, queue, this.#newTask(call))) return;
      const { store } = this.#engine;
      const { records } = await store.read(store.partitionOf(taskId), [keys.head(taskId)]);
      const head = records[0] ? decodeHead(taskId, records[0]) : null;
      if (head?.purged === null) {
        assertSameName(taskId, head.task.name, handler.name);
        assertSameInput(taskId, await inputTextOf(this.#engine, head), call.inputText ?? '[]');
        // Its job may never have been made: of a submit that did not hear how it went, this is the next try.
        if (isSubmitted(head)) await sendAgain(this.#engine, queue, head);
        return;
      }
      if (head !== null) await purge(this.#engine, head);
    }
    throw changing(taskId);
  }

  /** The job of an envelope: begins, takes up or joins the task with what is stored of it. */
  run(handler: Handler, taskId: string): Promise<Started> {
    return this.#land({ handler, taskId, inputText: null, userText: null, args: [] }, false);
  }

  #callOf(handler: Handler, taskId: string, input: CallInput): Call {
    const { inputBytes, userContextBytes } = this.#engine.settings.limits;
    const limit = { what: `the arguments of "${handler.name}"`, maxBytes: inputBytes };
    const inputText = toJsonText(trimmed(input.raw), limit);
    const contextLimit = { what: `the user context of "${handler.name}"`, maxBytes: userContextBytes };
    const userText = input.userContext === undefined ? null : toJsonText(input.userContext, contextLimit);
    return { handler, taskId, inputText, userText, args: input.parsed };
  }

  /** One try under a reserved id. */
  async #takeOff(call: Call, creates: boolean, create: boolean): Promise<Started | 'running' | 'again'> {
    const own = this.#engine.flights.open(call.taskId, call.handler.name, call.inputText);
    try {
      const { worker } = this.#engine;
      const { name, retentionMs } = call.handler;
      if (!worker.knows(name)) await worker.ensureName(name, retentionMs);
      // A new task is the common case: it is made without looking first.
      let found: FirstStart | StartedClaim | Started | 'missing' | 'running' | 'again' = create
        ? await this.#create(call)
        : 'again';
      if (found === 'again') found = await this.#look(call);
      if (found === 'missing') {
        if (!creates) throw notFound(call.taskId);
        found = await this.#create(call);
      }
      if (typeof found !== 'object') {
        own.lost();
        return found;
      }
      // Whoever joins it with other arguments is to hear of that.
      if ('attempt' in found) own.flight.inputText ??= found.inputText;
      own.won('attempt' in found ? this.follow(call.handler, call.taskId, found) : found.result);
      return { result: own.flight.result };
    } catch (error) {
      own.failed(error);
      throw error;
    }
  }

  /** What a started task comes to in the end, its next tries included. `slots`: what bounds recovered ones. */
  follow(
    handler: Handler,
    taskId: string,
    first: StartedClaim | FirstStart,
    slots: Slots | null = null,
  ): Promise<unknown> {
    if (handler.maxAttempts === 1) return first.result;
    const call: Call = { handler, taskId, inputText: null, userText: null, args: [] };
    return quiet(new Retries(this.#engine, taskId, () => this.#look(call, true), slots).follow(first));
  }

  #newTask({ handler, taskId, inputText, userText, args }: Call): NewTask {
    const { payloads } = this.#engine.store;
    const { name, priority, version, group } = handler;
    return {
      taskId,
      name,
      priority,
      version,
      storedInput: payloads.seal(inputText ?? '[]', taskId, 'input'),
      userContext: userText === null ? null : payloads.seal(userText, taskId, 'user context'),
      group: group === null ? null : checkedGroup(name, group(args)),
    };
  }

  #create(call: Call): Promise<Started | 'again'> {
    assertOpen(this.#engine);
    const { taskId } = call;
    const { store, queue, random, worker, settings, clock } = this.#engine;
    const task = this.#newTask(call);
    const partition = store.partitionOf(taskId);
    const fence = Math.max(store.estimatedNowMs(partition), this.#engine.fences.highest(taskId) + 1);
    const nonce = random.nonce();
    const owner = worker.incarnation;
    const { leaseMs } = settings;
    const holder = { owner, leaseMs, fence, nonce, notAfter: notAfter(this.#engine, partition) };
    const batch = createBatch(task, holder);
    const sentMs = clock.monotonicMs();
    return queue.commit(partition, batch, task.storedInput.length + 500).then(
      ({ outcome, nowMs }) => {
        if (outcome.status === 'conflict' || outcome.status === 'expired') return 'again';
        if (outcome.status === 'refused') throw refusalError(outcome);
        const [started] = batch.append;
        const { emitter } = this.#engine;
        if (started !== undefined && !emitter.idle) emitter.emit(localEvent(started, nowMs));
        const { priority } = task;
        const { userText, args } = call;
        return this.#begin(call, {
          taskId,
          priority,
          partition,
          fence,
          nonce,
          sentMs,
          origin: fence,
          eventSeq: 1,
          userText,
          args,
        });
      },
      (error: unknown) => {
        // It may have been applied all the same; the sweeper takes it back then.
        worker.mayHoldLost = true;
        throw error;
      },
    );
  }

  #begin({ handler, taskId, inputText, args }: Call, begun: Begun): Started {
    const attempt = firstAttempt(this.#engine, handler, begun);
    const invoke = (): unknown => handler.invoke(attempt.context, args);
    const result = attempt.run(watched(this.#engine, attempt, null, invoke));
    return { result: this.follow(handler, taskId, { attempt, result, inputText }) };
  }

  /** What there is under the id, and what follows from it. `retrying`: a task that failed for good is left alone. */
  async #look(
    { handler, taskId, inputText }: Call,
    retrying = false,
  ): Promise<FirstStart | StartedClaim | Started | 'missing' | 'running' | 'again'> {
    const { store } = this.#engine;
    const { records, nowMs } = await store.read(store.partitionOf(taskId), [keys.head(taskId)]);
    if (!records[0]) return 'missing';
    const head = decodeHead(taskId, records[0]);
    if (head.purged !== null) {
      await purge(this.#engine, head);
      return 'again';
    }
    const { status, name, owner } = head.task;
    assertSameName(taskId, name, handler.name);
    if (status === 'dead_letter') throw gaveUpError('TASK_DEAD_LETTER', head.task);
    if (status === 'cancelled') throw gaveUpError('TASK_CANCELLED', head.task);
    // For good, in other hands.
    if (status === 'failed' && retrying) throw failedElsewhere(head.task);
    if (inputText !== null) assertSameInput(taskId, await inputTextOf(this.#engine, head), inputText);
    if (status === 'completed') {
      const unstorable = (): RecoveryError => unstorableError(taskId, 'it was not JSON data.');
      return { result: quiet(keptResult(this.#engine, head, unstorable)) };
    }
    // It waits for its next try, after an error in other hands.
    if (retrying && status === 'orphaned' && (head.task.dueAtMs ?? 0) > nowMs) return 'running';
    if (isSubmitted(head)) {
      assertOpen(this.#engine);
      return (await beginSubmitted(this.#engine, handler, head)) ?? 'again';
    }
    const freed = await this.#finder.freed(head, nowMs);
    if (freed === null) {
      // Whoever has begun it here waits for it wherever it goes on.
      if (retrying || handler.ifRunning === 'join') return 'running';
      throw runningError(taskId, owner);
    }
    assertOpen(this.#engine);
    const claimed = await claim(this.#engine, handler, head, freed.cause, freed);
    if (claimed.kind === 'lost') return 'again';
    if (claimed.kind === 'started') return claimed;
    if (claimed.kind === 'dead_letter') throw gaveUpError('TASK_DEAD_LETTER', head.task, claimed.plan.reason);
    if (claimed.kind === 'cancelled') throw gaveUpError('TASK_CANCELLED', head.task, claimed.plan.reason);
    throw new RecoveryError(
      'UNRECOVERABLE',
      `A strategy leaves task "${taskId}" alone: ${claimed.plan.reason}`,
    );
  }
}

/** Nobody may be waiting for it yet, or ever. */
function quiet(promise: Promise<unknown>): Promise<unknown> {
  promise.catch(() => {});
  return promise;
}
/** @throws `INVALID_ID` */
function checkedGroup(name: string, group: unknown): string {
  // An async one by mistake, which is refused: what it rejects with must not end the process.
  if (typeof group !== 'string') Promise.resolve(group).catch(() => {});
  return checkId(`The group of "${name}"`, group);
}
