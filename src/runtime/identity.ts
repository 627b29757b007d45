/**
 * Who a worker is, and whether it is provably dead.
 *
 * Proof needs the same host, boot, pid namespace and time namespace, and then that no process has that pid and start
 * time. Whatever can't be read proves nothing: the lease decides then. The start time guards against reused pids; it is
 * parsed behind the last `)`, since a process may put anything into its title.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** The parts of an identity. A part that the machine doesn't tell is an empty text, and then nothing can be proven. */
export interface ProcessIdentity {
  readonly host: string;
  readonly bootId: string;
  readonly pidNamespace: string;
  readonly timeNamespace: string;
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly startTime: string;
}

/** What there is to ask of the operating system; tests put their own in. */
export interface ProcessTable {
  readText(path: string): string | null;
  readLink(path: string): string | null;
  /** `gone` for ESRCH, `exists` otherwise: it may belong to somebody else. */
  signal0(pid: number): 'gone' | 'exists';
}

function orNull(read: () => string): string | null {
  try {
    return read();
  } catch {
    return null;
  }
}

/** The machine's process table. */
export const systemProcessTable: ProcessTable = {
  readText: (path) => orNull(() => readFileSync(path, 'utf8')),
  readLink: (path) => orNull(() => readlinkSync(path)),
  signal0(pid) {
    try {
      process.kill(pid, 0);
      return 'exists';
    } catch (error) {
      return error instanceof Error && 'code' in error && error.code === 'ESRCH' ? 'gone' : 'exists';
    }
  },
};

/** State and start time out of `/proc/PID/stat`, or null when it is not what it should be. */
export function parseStat(stat: string | null): { state: string; startTime: string } | null {
  if (stat === null) return null;
  // Behind the title: state is the first field, start time the twentieth (fields 3 and 22 of the whole line).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const startTime = fields[19];
  return state === undefined || startTime === undefined ? null : { state, startTime };
}

/** This process. */
export function ownIdentity(table: ProcessTable, pid: number = process.pid): ProcessIdentity {
  return {
    host: hostname(),
    bootId: table.readText('/proc/sys/kernel/random/boot_id')?.trim() ?? '',
    pidNamespace: table.readLink('/proc/self/ns/pid') ?? '',
    timeNamespace: table.readLink('/proc/self/ns/time') ?? '',
    pid,
    startTime: parseStat(table.readText(`/proc/${pid}/stat`))?.startTime ?? '',
  };
}

/** Whether `other` is certainly no living process, as seen from `own`. */
export function isProvablyDead(other: ProcessIdentity, own: ProcessIdentity, table: ProcessTable): boolean {
  for (const part of ['host', 'bootId', 'pidNamespace', 'timeNamespace'] as const) {
    if (own[part] === '' || own[part] !== other[part]) return false;
  }
  if (other.startTime === '' || !Number.isSafeInteger(other.pid) || other.pid <= 0) return false;
  if (other.pid === own.pid && other.startTime === own.startTime) return false;
  if (table.signal0(other.pid) === 'gone') return true;
  const stat = parseStat(table.readText(`/proc/${other.pid}/stat`));
  if (stat === null) return false;
  return stat.startTime !== other.startTime || stat.state === 'Z' || stat.state === 'X';
}
