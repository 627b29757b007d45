/** The recipe of docs/tasks.md for the user's own tables, on a real one. */
import Database from 'libsql';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { away, gate, LEASE_MS, rejectionOf, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

let world: World;
let db: Database.Database;
beforeEach(() => {
  world = new World();
  db = new Database(':memory:');
  db.exec('CREATE TABLE documents (id TEXT PRIMARY KEY, status TEXT, fence INTEGER NOT NULL DEFAULT 0)');
  db.exec("INSERT INTO documents (id, status) VALUES ('t', 'new')");
});
afterEach(async () => {
  await world.end();
  db.close();
});

/** How many rows the write of an attempt has changed. */
function save(ctx: RecoveryContext, status: string): number {
  const update = db.prepare('UPDATE documents SET status = ?, fence = ? WHERE id = ? AND fence <= ?');
  return update.run(status, ctx.fence, ctx.taskId, ctx.fence).changes;
}

it('WHERE fence <= ? keeps a zombie out of a table of the user', async () => {
  const first = world.proc();
  const [begun, woken, written] = [gate(), gate(), gate()];
  const changes: number[] = [];
  const task = first.recovery.withRecovery(
    async (ctx) => {
      changes.push(save(ctx, `begun by ${ctx.attempt}`));
      if (ctx.attempt > 1) return ctx.attempt;
      begun.open();
      // Deaf to its signal.
      await woken.passed;
      changes.push(save(ctx, 'by a zombie'));
      written.open();
      return 0;
    },
    { name: 'n', taskId: () => 't' },
  );
  const { result } = await task.start();
  const ended = rejectionOf(result);
  await begun.passed;
  first.line.down = away();
  await world.clock.advance(LEASE_MS + 1);
  await expect(world.until(task.with(world.proc().recovery)())).resolves.toBe(2);
  woken.open();
  await written.passed;
  expect(await ended).toMatchObject({ code: 'LEASE_UNCERTAIN' });
  expect(changes).toEqual([1, 1, 0]);
  expect(db.prepare('SELECT status FROM documents').get()).toMatchObject({ status: 'begun by 2' });
});
