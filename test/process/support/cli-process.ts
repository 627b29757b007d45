/** The built command line, as a process. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export const CLI: string = fileURLToPath(new URL('../../../dist/cli.js', import.meta.url));

/** How a command ended, and what it said. */
export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

const running = new Set<ChildProcess>();

/** Ends what a test left running. */
export function endCommands(): void {
  for (const child of running) child.kill('SIGKILL');
  running.clear();
}

/** A process that is under way. */
export class CommandProcess {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #heard = new Set<() => void>();
  #stdout = '';
  #stderr = '';

  constructor(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    // Nothing of the environment of the tests decides what is printed.
    const { PATH = '', HOME = '' } = process.env;
    const child = spawn(program, args, { env: { PATH, HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    running.add(child);
    child.stdout.on('data', (bytes: Buffer) => {
      this.#stdout += bytes.toString();
      for (const look of this.#heard) look();
    });
    child.stderr.on('data', (bytes: Buffer) => {
      this.#stderr += bytes.toString();
      for (const look of this.#heard) look();
    });
    this.ended = once(child, 'close').then((end: unknown[]) => {
      running.delete(child);
      const [code, signal] = end;
      return {
        code: typeof code === 'number' ? code : null,
        signal: typeof signal === 'string' ? signal : null,
        stdout: this.#stdout,
        stderr: this.#stderr,
      };
    });
  }

  /** Resolves once it has said this, on either stream; rejects when it ends without. */
  async said(text: string): Promise<void> {
    const isSaid = (): boolean => this.#stdout.includes(text) || this.#stderr.includes(text);
    await Promise.race([
      new Promise<void>((resolve) => {
        const look = (): void => {
          if (isSaid()) resolve();
        };
        this.#heard.add(look);
        look();
      }),
      this.ended.then(({ code, stdout, stderr }) => {
        if (!isSaid()) throw new Error(`It ended (${code}) without "${text}":\n${stdout}\n${stderr}`);
      }),
    ]);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** `rekindle …`, to its end. */
export function rekindle(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  return new CommandProcess(process.execPath, [CLI, ...args], env).ended;
}
