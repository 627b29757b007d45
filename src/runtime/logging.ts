/** What an application's log hears of recovery: ids, names, numbers and codes; never payloads, messages or URLs. */
import type { RecoveryEvent } from '../domain/events.js';
import type { Emitter } from './emitter.js';
import type { RecoveryReport, TaskReport } from './report.js';

/** The part of a logger that is used: `console`, pino and winston fit. */
export interface Logger {
  info(message: string): unknown;
  warn(message: string): unknown;
  error(message: string): unknown;
}

/** Details of events that may be logged: all others may hold what users wrote. */
const SAFE = [
  'kind',
  'figure',
  'value',
  'threshold',
  'count',
  'code',
  'lag_ms',
  'jumped_ms',
  'attempt',
  'cause',
  'crashes',
  'error_name',
  'error_code',
  // A text of the storage adapter's own.
  'warning',
];
/** Events that somebody may have to look into. */
const TOLD = ['alert', 'task_failed', 'dead_lettered', 'lease_lost'] as const;

export class Logging {
  readonly #logger: Logger | null;
  /** How many tasks the last pass was told to have found: sweeps while they wait are no news. */
  lastFound = 0;

  constructor(logger: Logger | null, emitter: Pick<Emitter, 'on'>) {
    this.#logger = logger;
    if (logger !== null) for (const type of TOLD) emitter.on(type, (event) => this.#event(event));
  }

  get silent(): boolean {
    return this.#logger === null;
  }

  /** What a logger throws is its own affair. */
  write(level: keyof Logger, message: string): void {
    try {
      const answer: unknown = this.#logger?.[level](`rekindle: ${message}`);
      if (answer instanceof Promise) answer.catch(() => {});
    } catch {
      // Nowhere to tell it.
    }
  }

  #event({ event, task_id, name, details }: RecoveryEvent): void {
    const facts = SAFE.flatMap((key) =>
      details[key] === undefined ? [] : [`${key}=${quoted(details[key])}`],
    );
    const taskId = task_id ?? details['task_id'];
    const taskName = name ?? details['name'];
    if (taskId !== undefined) facts.push(`task=${quoted(taskId)}`);
    if (taskName !== undefined) facts.push(`name=${quoted(taskName)}`);
    this.write('warn', [event, ...facts].join(' '));
  }
}

/** Ids may hold blanks and quotes. */
function quoted(text: string): string {
  return /^[\w.:/-]+$/.test(text) ? text : JSON.stringify(text);
}

/** Outcomes that are the end of a task. */
const ENDS: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled', 'dead_letter']);
/** Into how many parts of a pass progress is logged. */
const PARTS = 10;

/** A pass of recovery, for the log: what was found, how far it is, what became of it. */
export class PassLog {
  readonly #log: Logging;
  #total = 0;
  #done = 0;
  #bad = 0;

  constructor(log: Logging) {
    this.#log = log;
  }

  found(total: number): void {
    this.#total = total;
    if (total > 0 && total !== this.#log.lastFound) this.#log.write('info', `tasks to recover: ${total}`);
    this.#log.lastFound = total;
  }

  ended({ outcome }: Pick<TaskReport, 'outcome'>): void {
    if (!ENDS.has(outcome)) return;
    this.#done += 1;
    if (outcome === 'failed' || outcome === 'dead_letter') this.#bad += 1;
    // What came meanwhile counts too.
    const total = Math.max(this.#total, this.#done);
    const part = Math.max(1, Math.ceil(total / PARTS));
    if (this.#done % part !== 0) return;
    this.#log.write('info', `${this.#done}/${total} done, ${this.#bad} failed`);
  }

  over({ recovered, failed, deadLettered, released, deferred, skipped, durationMs }: RecoveryReport): void {
    if (recovered + deadLettered === 0) return;
    const parts = [
      `${recovered} taken back`,
      `${failed} of them failed`,
      `${released} given back`,
      `${deadLettered} given up`,
      `${deferred} deferred`,
      `${skipped} skipped`,
    ];
    this.#log.write('info', `recovery ended after ${durationMs} ms: ${parts.join(', ')}`);
  }
}
