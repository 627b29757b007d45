/** Documents that fail, and runs of their recovery, in few words. */
import { expect } from 'vitest';
import type { DocumentRecoveryConfig } from '../../src/domain/document-recovery.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { makeToken } from '../../src/state/token.js';
import { TOKEN_FIELD } from '../../src/storage/storage.js';
import { gate, LEASE_MS } from './harness.js';
import type { Gate, Proc, ProcOptions, World } from './harness.js';

export const HOUR_MS = 3_600_000;
export const DAY_MS: number = 24 * HOUR_MS;
/** Over the longest wait before the first retry, by the default options. */
export const DUE_MS: number = 1.5 * HOUR_MS;

export type Work = (path: string, ctx: RecoveryContext) => unknown;

export interface Reader extends Proc {
  readonly read: (path: string) => Promise<unknown>;
  /** What its function was called with. */
  readonly tried: string[];
  /** What it is to do from now on. */
  readonly does: (work: Work) => void;
}

type ReaderOptions = Omit<ProcOptions, 'documents'> & {
  readonly documents?: DocumentRecoveryConfig;
  readonly task?: {
    readonly name?: string;
    readonly version?: string;
    readonly maxAttempts?: number;
    readonly recovery?: 'never';
  };
};

export const broken = (): never => {
  throw new TypeError('broken');
};

/** A process with a task that reads documents. They fail until it is told something else. */
export function reader(world: World, { documents = {}, task = {}, ...options }: ReaderOptions = {}): Reader {
  const proc = world.proc({ documents, ...options });
  const tried: string[] = [];
  const state: { work: Work } = { work: broken };
  const name = task.name ?? 'read';
  const read = proc.recovery.withRecovery(
    async (ctx, path: string) => {
      tried.push(path);
      return state.work(path, ctx);
    },
    { ...task, name, taskId: (path) => path, document: (path) => path },
  );
  return { ...proc, read, tried, does: (work) => void (state.work = work) };
}

/** These documents have failed once; what was tried for that is forgotten. */
export async function failed({ read, tried }: Reader, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) await read(path).catch(() => {});
  tried.length = 0;
}

/** Time passes with nobody there to renew anything; what was due meanwhile is so at once. */
export const leap = (world: World, ms: number): void => world.clock.stepWall(ms);

/** Work that waits at gates: how many were at it at once at most, and who is. */
export function gated(): {
  readonly work: Work;
  readonly at: Map<string, Gate>;
  readonly most: () => number;
  readonly open: (path: string) => void;
  readonly openAll: () => void;
} {
  const at = new Map<string, Gate>();
  let most = 0;
  const open = (path: string): void => at.get(path)?.open();
  return {
    at,
    most: () => most,
    open,
    openAll: () => {
      for (const path of at.keys()) open(path);
    },
    work: async (path) => {
      const door = gate();
      at.set(path, door);
      most = Math.max(most, at.size);
      await door.passed;
      at.delete(path);
      return 'text';
    },
  };
}

/** Lets a lease of somebody who is gone run out. */
export const leaseOver = (world: World): Promise<void> => world.clock.advance(LEASE_MS + 1);

let writes = 0;

/** Something else writes over these fields of a record, wherever it is. */
export async function writeOver(
  { memory }: World,
  key: string,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  for (let partition = 0; partition < memory.partitions; partition += 1) {
    const name = `rekindle:${partition}`;
    const { records } = await memory.read(name, [key]);
    if (!records[0]) continue;
    const expected = records[0]?.get(TOKEN_FIELD) ?? null;
    const guard = { key, expect: expected, next: makeToken(1, `test${(writes += 1)}`, 0) };
    const { outcomes } = await memory.commit(name, [{ guard, notAfter: 1e15, set: [{ key, fields }] }]);
    expect(outcomes).toMatchObject([{ status: 'applied' }]);
  }
}
