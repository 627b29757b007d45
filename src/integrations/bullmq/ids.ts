/** The job of a hand-over. BullMQ allows no colon in its id, and no bare number. */
export function dispatchedJobId(taskId: string, fence: number): string {
  return `rekindle-${encodeURIComponent(taskId)}-${fence}`;
}
