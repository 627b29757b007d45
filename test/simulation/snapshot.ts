import { TOKEN_FIELD } from '../../src/storage/storage.js';
import type { World } from './world.js';

/** Keeps the storage as it is; the returned function puts it back, as a restore from a backup does. */
export function snapshot(world: World): () => void {
  const saved = world.partitions.map(({ records, indexes, log }) => ({
    records: new Map([...records].map(([key, record]) => [key, new Map(record)])),
    indexes: new Map([...indexes].map(([name, index]) => [name, [...index.entries()]])),
    log: [...log],
  }));
  return () => {
    const tokens = new Map<string, string>();
    for (const [place, partition] of world.partitions.entries()) {
      const { records, indexes, log } = saved[place] ?? { records: new Map(), indexes: new Map(), log: [] };
      partition.records.clear();
      for (const [key, record] of records) {
        partition.records.set(key, new Map(record));
        if (key.startsWith('h:')) tokens.set(key.slice(2), record.get(TOKEN_FIELD) ?? '');
      }
      partition.indexes.clear();
      for (const [name, entries] of indexes) {
        for (const { id, score } of entries) partition.index(name).put(id, score);
      }
      partition.log.splice(0, partition.log.length, ...log);
    }
    world.witness.rolledBack(tokens);
  };
}
