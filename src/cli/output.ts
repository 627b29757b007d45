/** What is printed: tables and colours on a terminal, lines of fields parted by tabs elsewhere, or one JSON document. */
import Table from 'cli-table3';
import type { Io } from './io.js';
import type { Secrets } from './secrets.js';
import { cut, harmless, harmlessJson } from './text.js';

/** A cell of a table. */
export type Cell = string | number | null;
type Style = keyof typeof CODES;

/** On and off, as ECMA-48 has them. */
const CODES = { bold: [1, 22], red: [31, 39], yellow: [33, 39], green: [32, 39] } as const;

const STYLES: Readonly<Record<string, Style>> = {
  dead_letter: 'red',
  failed: 'red',
  unhealthy: 'red',
  serious: 'red',
  orphaned: 'yellow',
  degraded: 'yellow',
  warning: 'yellow',
  deferred: 'yellow',
  completed: 'green',
  healthy: 'green',
  ok: 'green',
};
/** A cell on a terminal; elsewhere it is whole. */
const LONGEST_CELL = 100;
const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Whether escape sequences are welcome. https://no-color.org */
function wantsColour({ stdout, env }: Io): boolean {
  return stdout.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}

export class Output {
  readonly json: boolean;
  readonly terminal: boolean;
  readonly #io: Io;
  readonly #secrets: Secrets;
  readonly #colours: boolean;

  constructor(io: Io, secrets: Secrets, json: boolean) {
    this.#io = io;
    this.#secrets = secrets;
    this.json = json;
    this.terminal = io.stdout.isTTY === true;
    this.#colours = wantsColour(io);
  }

  /** The one document of a command with `--json`. */
  document(value: unknown): void {
    this.#out(harmlessJson(value, this.terminal ? 2 : 0));
  }

  /** A document of many: one on each line. */
  jsonLine(value: unknown): void {
    this.#out(harmlessJson(value, 0));
  }

  line(text = ''): void {
    this.#out(harmless(text));
  }

  heading(text: string): void {
    this.#out('');
    this.#out(this.#styled('bold', harmless(text)));
  }

  /** Columns with their names above. */
  table(head: readonly string[], rows: readonly (readonly Cell[])[]): void {
    if (!this.terminal) {
      for (const row of [head, ...rows]) this.fields(row);
      return;
    }
    const table = new Table({
      chars: NO_BORDERS,
      style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
      head: head.map((name) => this.#styled('bold', name)),
    });
    for (const row of rows) table.push(row.map((cell) => this.#cell(cell)));
    const lines = table.toString().split('\n');
    for (const line of lines) this.#out(line.trimEnd());
  }

  /** Names with their values, one on each line. */
  pairs(pairs: readonly (readonly [string, Cell])[]): void {
    if (!this.terminal) {
      for (const pair of pairs) this.fields(pair);
      return;
    }
    const width = Math.max(...pairs.map(([name]) => name.length));
    for (const [name, value] of pairs) this.#out(`${name.padEnd(width)}  ${this.#cell(value, Infinity)}`);
  }

  /** One line of fields. */
  fields(cells: readonly Cell[]): void {
    this.#out(cells.map((cell) => (cell === null ? '-' : harmless(String(cell)))).join('\t'));
  }

  /** Something that is not the answer, for whoever sits in front of it. */
  note(text: string): void {
    if (!this.json) this.#err(harmless(this.#secrets.hide(text)));
  }

  /** What went wrong. */
  error(code: string, message: string): void {
    const hidden = this.#secrets.hide(message);
    this.#err(
      this.json ? harmlessJson({ error: { code, message: hidden } }, 0) : harmless(`rekindle: ${hidden}`),
    );
  }

  #cell(cell: Cell, longest: number = LONGEST_CELL): string {
    if (cell === null) return '-';
    const text = cut(harmless(String(cell)), longest);
    const style = STYLES[text];
    return style === undefined ? text : this.#styled(style, text);
  }

  #styled(style: Style, text: string): string {
    if (!this.#colours) return text;
    const [on, off] = CODES[style];
    return `\u001b[${on}m${text}\u001b[${off}m`;
  }

  #out(line: string): void {
    this.#io.stdout.write(`${line}\n`);
  }

  #err(line: string): void {
    this.#io.stderr.write(`${line}\n`);
  }
}
