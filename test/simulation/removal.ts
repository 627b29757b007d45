import { decodeHead } from '../../src/state/head.js';
import { indexes, keys } from '../../src/state/keys.js';
import type { World } from './world.js';

/** Takes an ended task's records away, as retention does: in one batch under the head's guard. */
export function removeHead(taskId: string): (world: World) => void {
  return (world) => {
    const record = world.partitions[0]?.records.get(keys.head(taskId));
    if (record === undefined) return;
    const { task, token } = decodeHead(taskId, record);
    void world.commit({
      guard: { key: keys.head(taskId), expect: token, next: null },
      index: [{ index: indexes.inState(task.status, task.name), id: taskId, score: null }],
    });
  };
}
