/** Runs once before all test files: the real servers must be there, or the run fails with a clear message. */
import { ensurePostgres } from './postgres-server.js';
import { ensureRedisServer } from './redis-server.js';

export function setup(): void {
  ensureRedisServer();
  ensurePostgres();
}
