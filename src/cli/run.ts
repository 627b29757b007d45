/** One run of the command line: from arguments to an exit code. It never throws, and prints through `io` only. */
import { CommanderError } from 'commander';
import { isRecoveryError, messageOf, RecoveryError } from '../errors.js';
import type { Answer, Context } from './context.js';
import { EXIT, exitCodeOf } from './exit-codes.js';
import type { Io } from './io.js';
import { Output } from './output.js';
import { makeProgram } from './program.js';
import { Printed } from './printed.js';
import type { Job } from './program.js';
import { Secrets } from './secrets.js';
import { openSession } from './session.js';

type Signal = 'SIGINT' | 'SIGTERM';

/** @param args without `node` and the program's own name */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const secrets = new Secrets();
  const json = args.includes('--json');
  const out = new Output(io, secrets, json);
  const printed = new Printed(io);
  let code: number;
  try {
    const job = parse(args, io, secrets, json);
    code = job === null ? EXIT.ok : await runJob(job, { out, io, closed: printed.closed }, secrets);
  } catch (error) {
    out.error(codeOf(error), messageOf(error));
    await printed.end();
    return exitCodeOf(error);
  }
  const problem = await printed.end();
  if (problem === null) return code;
  out.error('ERROR', `What was to be printed could not be written: ${messageOf(problem)}`);
  return code === EXIT.ok ? EXIT.failed : code;
}

function codeOf(error: unknown): string {
  return isRecoveryError(error) ? error.code : 'ERROR';
}

/** Null when it was asked for help, and got it. @throws `INVALID_OPTION` */
function parse(args: readonly string[], io: Io, secrets: Secrets, json: boolean): Job | null {
  let job: Job | null = null;
  const program = makeProgram(io.version, (asked) => (job = asked));
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // Errors come as exceptions, too, and are told once; the help after a line without a command is not.
      writeErr: (text) => {
        if (!json && !text.startsWith('error:')) io.stderr.write(secrets.hide(text));
      },
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  }
  try {
    program.parse(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return null;
    const none = error.code === 'commander.help';
    throw new RecoveryError(
      'INVALID_OPTION',
      none
        ? `${args.includes('help') ? 'There is no such command' : 'No command is given'}. See: rekindle --help`
        : error.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' '),
    );
  }
  return job;
}

async function runJob(
  job: Job,
  given: Pick<Context, 'out' | 'io' | 'closed'>,
  secrets: Secrets,
): Promise<number> {
  const { io, out } = given;
  const stop = new AbortController();
  let interrupted: Signal | null = null;
  const off = io.onInterrupt((signal) => {
    interrupted = signal;
    stop.abort();
  });
  const ended = new Promise<null>((resolve) => {
    stop.signal.addEventListener('abort', () => resolve(null));
  });
  try {
    io.debug(job.options.verbose === true);
    const opening = openSession(job.options, io, secrets, job.retention);
    const session = await Promise.race([opening, ended]);
    if (session === null) {
      opening.then(
        ({ close }) => close(),
        () => {},
      );
      return exitCodeOfSignal(interrupted);
    }
    let answer: Answer | null;
    try {
      if (session.written === false) out.note(`There is nothing in ${session.place} yet.`);
      const working = job.run({ ...given, session, signal: stop.signal });
      answer = await (job.stops ? working : Promise.race([working, ended]));
      if (answer !== null) {
        if (out.json) out.document(answer.value);
        else answer.show(out);
      }
    } catch (error) {
      // What went wrong first is told.
      await session.close().catch(() => {});
      throw error;
    }
    const code = stop.signal.aborted ? exitCodeOfSignal(interrupted) : (answer?.exitCode ?? EXIT.ok);
    await session.close();
    return code;
  } finally {
    off();
  }
}

function exitCodeOfSignal(signal: Signal | null): number {
  return signal === 'SIGTERM' ? EXIT.terminated : EXIT.interrupted;
}
