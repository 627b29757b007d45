/** What the command line has of its surroundings, so that tests can give it others. */

/** Where text goes. */
type Sink = NodeJS.WritableStream & {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
};

export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What relative paths start from. */
  readonly cwd: string;
  readonly version: string;
  /** Decides on debug output, before drivers are loaded. */
  readonly debug: (verbose: boolean) => void;
  /** Hears of the first SIGINT or SIGTERM, and returns a function that ends it. A second one ends the process at once. */
  readonly onInterrupt: (listener: (signal: 'SIGINT' | 'SIGTERM') => void) => () => void;
}
