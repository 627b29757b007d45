import type { TaskRecord, TaskStatus } from '../../index.js';
import type { Command } from '../context.js';
import type { Cell } from '../output.js';
import { timeText } from '../text.js';

export interface TasksOptions {
  readonly name?: string;
  readonly status?: TaskStatus;
  readonly group?: string;
  readonly limit?: number;
  readonly after?: string;
}

const HEAD = ['task', 'name', 'status', 'attempt', 'progress', 'items', 'step', 'crashes', 'since', 'error'];

/** When it came into its state, as far as its record tells. */
function sinceMs({ endedAtMs, progressAtMs }: TaskRecord): number {
  return endedAtMs ?? progressAtMs;
}

export function itemsText(items: TaskRecord['items']): string | null {
  return items === null ? null : `${items.done}/${items.total}`;
}

function row(task: TaskRecord): Cell[] {
  const { taskId, name, status, attempt, progressPercent, items, step, crashes, error } = task;
  const why = error === null ? null : `${error.name}: ${error.message}`;
  return [
    taskId,
    name,
    status,
    attempt,
    `${progressPercent}%`,
    itemsText(items),
    step,
    crashes.length,
    timeText(sinceMs(task)),
    why,
  ];
}

/** `rekindle tasks` */
export const listTasks: Command<TasksOptions> = async (
  { session },
  { name, status, group, limit, after },
) => {
  const page = await session.recovery.tasks.list({
    ...(name === undefined ? {} : { name }),
    ...(status === undefined ? {} : { status }),
    ...(group === undefined ? {} : { group }),
    ...(limit === undefined ? {} : { limit }),
    ...(after === undefined ? {} : { after }),
  });
  return {
    value: page,
    show: (out) => {
      if (page.tasks.length === 0) out.note('No tasks.');
      else out.table(HEAD, page.tasks.map(row));
      if (page.next !== null) out.note(`More: --after ${page.next}`);
    },
  };
};
