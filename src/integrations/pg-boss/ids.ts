/** Ids of jobs: pg-boss has UUIDs and nothing else. */
import { createHash } from 'node:crypto';

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

/** The job of a hand-over: the same for the same one, of version 8 (RFC 9562). */
export function dispatchedJobId(taskId: string, fence: number): string {
  const hex = createHash('sha256').update(`rekindle\n${taskId}\n${fence}`).digest('hex');
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 3) | 8).toString(16);
  const groups = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`];
  return [...groups, `${variant}${hex.slice(17, 20)}`, hex.slice(20, 32)].join('-');
}
