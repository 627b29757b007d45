/** A task made of steps, one of them with `verify`, a map, progress and checkpoints, which fails with an error once. */
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { JobHost, JobResult } from './jobs.js';

const EXTRACT = 1;
export const PAY = 2;
const ERROR = 3;
export const FIRST_ITEM = 10;
const ITEMS = 12;
export const LANES = 3;
/** The effects of a run without any fault. */
export const EFFECTS: number = 3 + ITEMS;

const items: readonly number[] = Array.from({ length: ITEMS }, (_, index) => FIRST_ITEM + index);
/** Longer than what lives in the head. */
const text = 'text '.repeat(100);

export const PIECES_TOTAL: number = text.length + PAY + items.reduce((sum, item) => sum + item, 0);

/** How far the checkpoint says that it is. */
function keptIn(data: unknown): number {
  return typeof data === 'object' && data !== null && 'done' in data ? Number(data.done) : 0;
}

export async function runPieces(host: JobHost, ctx: RecoveryContext, id: string): Promise<JobResult> {
  const before = keptIn(ctx.resumedFrom?.recoverableData);
  const visit = host.entered(ctx, before);
  const keep = async (done: number, progressPercent: number): Promise<void> => {
    if (done <= before) return;
    await ctx.createCheckpoint({ name: `kept-${done}`, progressPercent, recoverableData: { done } });
    visit.acknowledged(done);
  };
  try {
    const extracted = await ctx.step('extract', async () => {
      await host.sleep(5);
      visit.effect(EXTRACT, ctx.idempotencyKey('extract'));
      return text;
    });
    visit.kept(EXTRACT);
    await ctx.updateProgress(20, 'extracted');
    await keep(EXTRACT, 25);
    const paid = await ctx.step(
      'pay',
      async () => {
        await host.sleep(5);
        visit.effect(PAY, ctx.idempotencyKey('pay'));
        await host.sleep(5);
        return PAY;
      },
      { verify: () => (visit.happened(PAY) ? { done: true, result: PAY } : { done: false }) },
    );
    visit.kept(PAY);
    await keep(PAY, 40);
    const work = async (item: number, { idempotencyKey }: { idempotencyKey: string }): Promise<number> => {
      await host.sleep(1);
      visit.effect(item, idempotencyKey);
      return item;
    };
    const done = await ctx.map('items', items, work, { key: String, concurrency: LANES });
    for (const item of items) visit.kept(item);
    // Once over all attempts, unless nobody heard of it: what was done before is kept all the same.
    if (!visit.happened(ERROR)) {
      visit.effect(ERROR);
      throw new TypeError('Not today.');
    }
    await ctx.updateProgress(90, 'done');
    await host.sleep(5);
    return { id, total: extracted.length + paid + done.reduce((sum, item) => sum + item, 0) };
  } finally {
    visit.left();
  }
}
