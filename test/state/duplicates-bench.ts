/** A namespace whose records can be reached into. */
import type { DuplicateReport } from '../../src/state/duplicates.js';
import { keys } from '../../src/state/keys.js';
import { decodeMark, encodeMark, MAP_PREFIX } from '../../src/state/ledger.js';
import type { MapMark } from '../../src/state/ledger.js';
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';
import { World } from '../runtime/harness.js';
import type { Proc } from '../runtime/harness.js';
import { upTo } from '../runtime/lab.js';

/** What a report says when all is well. */
export const CLEAN: Omit<DuplicateReport, 'tasks' | 'items' | 'documents'> = {
  duplicateItems: [],
  miscounted: [],
  duplicateDocuments: [],
  unlisted: 0,
  unreadable: 0,
};

export class Bench {
  readonly world: World;
  readonly partitions: MemoryPartition[] = [];
  readonly storage: Storage;

  constructor(count: number) {
    this.world = new World(count);
    const make = (): MemoryPartition => {
      const partition = new MemoryPartition(1_000);
      this.partitions.push(partition);
      return partition;
    };
    this.storage = storageOver(make, this.world.clock, count);
  }

  proc(options: Parameters<World['proc']>[0] = {}): Proc {
    return this.world.proc({ over: this.storage, ...options });
  }

  find(name = 'n', options: Parameters<World['proc']>[0] = {}): Promise<DuplicateReport> {
    return this.proc(options).recovery.tasks.findDuplicates(name);
  }

  /** Of a record that there must be. */
  record(key: string): Map<string, string> {
    for (const { records } of this.partitions) {
      const found = records.get(key);
      if (found !== undefined) return found;
    }
    throw new Error(`there is no ${key}`);
  }

  /** Runs a task with one map to its end. */
  async ran(id: string, count: number, failing: readonly number[] = []): Promise<void> {
    const task = this.proc().recovery.withRecovery(
      (ctx) =>
        ctx.map(
          'm',
          upTo(count),
          (n) => {
            if (failing.includes(n)) throw new Error('no');
            return `item ${n}`;
          },
          { key: String, concurrency: 50 },
        ),
      { name: 'n', taskId: () => id },
    );
    await this.world.until(task().catch(() => {}));
  }

  /** Fails one for each path. */
  async failed(
    name: string,
    paths: readonly (readonly [id: string, path: string])[],
    options = {},
  ): Promise<void> {
    const { failures } = this.proc(options).recovery;
    for (const [taskId, documentPath] of paths)
      await this.world.until(failures.record({ taskId, documentPath, name, error: new Error('no') }));
  }

  /** Writes over what the head of a task says of its map. */
  setMark(id: string, change: (mark: MapMark) => Partial<MapMark>): void {
    const head = this.record(keys.head(id));
    const mark = decodeMark(head.get(`${MAP_PREFIX}m`)!)!;
    head.set(`${MAP_PREFIX}m`, encodeMark({ ...mark, ...change(mark) }));
  }
}
