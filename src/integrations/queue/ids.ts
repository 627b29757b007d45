/** Ids of tasks from those of jobs, and the other way round. */
import { isObject } from '../../domain/check-options.js';

/** The id of the task of an ordinary job. */
export function taskIdOf(queueName: string, jobId: string): string {
  return `${queueName}:${jobId}`;
}

/** The job that a task of this queue has come with; null when its id is not of that kind. */
export function jobOfTask(queueName: string, taskId: string): string | null {
  const start = taskIdOf(queueName, '');
  return taskId.startsWith(start) && taskId.length > start.length ? taskId.slice(start.length) : null;
}

/** The id of the task, when the data of a job is an envelope; null otherwise. */
export function envelopedTask(data: unknown): string | null {
  return isObject(data) && data['rekindle'] === 1 && typeof data['taskId'] === 'string'
    ? data['taskId']
    : null;
}
