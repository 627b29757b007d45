/**
 * The layout. A partition's name is the hash tag, so that all its keys are on one node of a Cluster:
 * `{<partition>}:r:<key>` records (hashes), `{<partition>}:i:<index>` indexes (sorted sets),
 * `{<partition>}:events` the log (a stream, which outside readers may follow with XREAD).
 */

/** What the Redis key of each record begins with. */
export function recordPrefix(partition: string): string {
  return `{${partition}}:r:`;
}

/** The Redis key of a record. */
export function recordKey(partition: string, key: string): string {
  return recordPrefix(partition) + key;
}

/** The Redis key of an index. */
export function indexKey(partition: string, index: string): string {
  return `{${partition}}:i:${index}`;
}

/** The Redis key of the event log. */
export function eventsKey(partition: string): string {
  return `{${partition}}:events`;
}
