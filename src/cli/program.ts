/** The commands and their options, as commander has them. */
import { Command as Program, InvalidArgumentError, Option } from 'commander';
import { TASK_STATUSES } from '../domain/task.js';
import type { Retention } from '../domain/operations.js';
import { cancelTask, requeueTask } from './commands/change.js';
import { cleanUp, retentionOf } from './commands/cleanup.js';
import type { CleanupOptions } from './commands/cleanup.js';
import { examine } from './commands/doctor.js';
import { printEvents } from './commands/events.js';
import { listFailures } from './commands/failures.js';
import { showPlan } from './commands/plan.js';
import { assertFunctions, recoverTasks } from './commands/recover.js';
import { redriveGroup } from './commands/redrive.js';
import { showStatus } from './commands/status.js';
import { showOneTask } from './commands/task.js';
import { listTasks } from './commands/tasks.js';
import type { Answer, Context } from './context.js';
import type { GlobalOptions } from './session.js';

/** A command of the line, ready to be run. */
export interface Job {
  readonly options: GlobalOptions;
  /** What the Recovery is to be made with; undefined: the defaults. */
  readonly retention: Retention | undefined;
  /** Whether it ends by itself, in good order, when its signal aborts. */
  readonly stops: boolean;
  readonly run: (context: Context) => Promise<Answer | null>;
}

const LONGEST_TIMEOUT_MS = 60_000;
const MOST_ENTRIES = 10_000_000;

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

const HELP = `
Exit codes: 0 done, 1 something failed (recovered tasks, checks of doctor), 2 wrong command line,
3 storage out of reach, 4 no such task or in another state, 130 and 143 ended by a signal.
Storage: --redis-url, --sqlite or --import; else REKINDLE_REDIS_URL or REKINDLE_SQLITE.`;

/** @param start gets the job that the line asks for */
export function makeProgram(version: string, start: (job: Job) => void): Program {
  const program = new Program('rekindle')
    .description('Looks at the tasks of a rekindle namespace, and steps in.')
    .version(version)
    .option('--redis-url <url>', 'a Redis; its password is never printed')
    .option('--sqlite <file>', 'a SQLite file')
    .option('--namespace <name>', 'default: rekindle')
    .option('--import <module>', 'a module that exports your `recovery`, with its storage and functions')
    .option('--json', 'one JSON document on stdout; for events one a line')
    .option('--verbose', 'debug output (rekindle:*) on stderr')
    .addOption(
      new Option('--timeout <ms>', 'how long a connection may take')
        .default(2_000)
        .argParser(whole(1, LONGEST_TIMEOUT_MS)),
    )
    .addHelpText('after', HELP)
    .helpCommand('help [command]', 'display help for command')
    .showSuggestionAfterError(true)
    .allowExcessArguments(false);
  const jobs = new Jobs(program, start);
  addLooks(jobs);
  addFailures(jobs);
  addDeeds(jobs);
  return program;
}

/** What is special about a command. */
interface Traits<O> {
  readonly stops?: boolean;
  /** Refuses a line before anything is opened. */
  readonly check?: (global: GlobalOptions) => void;
  readonly retention?: (global: GlobalOptions, own: O) => Retention | undefined;
}

/** Adds commands; those that are added get their own options and the global ones as one object. */
class Jobs {
  readonly #program: Program;
  readonly #start: (job: Job) => void;

  constructor(program: Program, start: (job: Job) => void) {
    this.#program = program;
    this.#start = start;
  }

  add<O extends object>(
    usage: string,
    description: string,
    run: (context: Context, options: O) => Promise<Answer | null>,
    traits: Traits<O> = {},
  ): Program {
    const command = this.#program.command(usage).description(description).allowExcessArguments(false);
    command.action(() => {
      const options = this.#program.opts<GlobalOptions>();
      const [first] = command.processedArgs;
      const name = command.registeredArguments[0]?.name();
      const own: O = { ...command.opts<O>(), ...(name === undefined ? {} : { [name]: first }) };
      traits.check?.(options);
      this.#start({
        options,
        retention: traits.retention?.(options, own),
        stops: traits.stops ?? false,
        run: (context) => run(context, own),
      });
    });
    return command;
  }
}

function limit(most: number): Option {
  return new Option('--limit <n>', `at most so many, 1 to ${most}`).argParser(whole(1, most));
}

/** Commands that only look. */
function addLooks(jobs: Jobs): void {
  jobs.add('status', 'health, figures and settings; exits 0 whenever it could answer', showStatus);
  jobs
    .add('tasks', 'lists tasks by state and name, or of a group', listTasks)
    .option('--name <name>', 'only tasks of this name')
    .addOption(new Option('--status <status>', 'only tasks in this state').choices([...TASK_STATUSES]))
    .option('--group <group>', 'only tasks of this group; not together with --name or --status')
    .addOption(limit(1_000))
    .option('--after <cursor>', 'the page behind this one');
  jobs
    .add('task <taskId>', 'a task with its attempts, events and checkpoints', showOneTask)
    .option('--data', 'the data of checkpoints, too');
  jobs.add('plan', 'what recovery would do, and why; writes nothing', showPlan);
  jobs
    .add('events', 'the events that are kept, the oldest first', printEvents, { stops: true })
    .option('--follow', 'wait for more, until Ctrl-C')
    .option('--task <taskId>', 'only events of this task')
    .addOption(new Option('--limit <n>', 'only the newest so many, 1 to 10000').argParser(whole(1, 10_000)))
    .option('--after <cursor>', 'only events behind this one: its `cursor` with --json');
  jobs.add('doctor', 'looks for what is wrong, and says what to do', examine).addOption(limit(MOST_ENTRIES));
}

function addFailures(jobs: Jobs): void {
  jobs
    .add('failures', 'lists failed documents', listFailures)
    .option('--group', 'by reason, the largest group first')
    .option('--fingerprint <fingerprint>', 'only those of this reason')
    .option('--category <category>', 'only those of this category')
    .option('--name <name>', 'only those of tasks of this name')
    .addOption(limit(1_000))
    .option('--after <cursor>', 'the page behind this one');
  jobs.add(
    'redrive <fingerprint>',
    'tries all failed documents of a reason again: here with --import, else by the workers',
    redriveGroup,
    { stops: true },
  );
}

/** Commands that change something. */
function addDeeds(jobs: Jobs): void {
  jobs
    .add('recover', 'recovers orphaned tasks in this process; needs --import', recoverTasks, {
      stops: true,
      check: assertFunctions,
    })
    .option('--documents', 'failed documents that are due, in place of orphaned tasks')
    .option('--names <names...>', 'only tasks of these names');
  jobs.add(
    'requeue <taskId>',
    'puts a task that failed, was cancelled or given up, or waits, into the recovery queue',
    requeueTask,
  );
  jobs
    .add('cancel <taskId>', 'ends a task for good, wherever it runs', cancelTask)
    .option('--reason <text>', 'stored with the task');
  jobs
    .add('cleanup', 'removes ended tasks that are older than the retention', cleanUp, {
      stops: true,
      retention: (global, own: CleanupOptions) => retentionOf(global, own),
    })
    .addOption(limit(MOST_ENTRIES))
    .addOption(
      new Option('--older-than <days>', 'the retention, where no module says it').argParser(whole(1, 36_500)),
    );
}
