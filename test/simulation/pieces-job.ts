/** A task made of steps, one of them with `verify`, a map and progress. */
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { JobHost, JobResult } from './jobs.js';

const EXTRACT = 1;
export const PAY = 2;
export const FIRST_ITEM = 10;
const ITEMS = 12;
export const LANES = 3;
/** The effects of a run without any fault. */
export const EFFECTS: number = 2 + ITEMS;

const items: readonly number[] = Array.from({ length: ITEMS }, (_, index) => FIRST_ITEM + index);
/** Longer than what lives in the head. */
const text = 'text '.repeat(100);

export const PIECES_TOTAL: number = text.length + PAY + items.reduce((sum, item) => sum + item, 0);

export async function runPieces(host: JobHost, ctx: RecoveryContext, id: string): Promise<JobResult> {
  const visit = host.entered(ctx, 0);
  try {
    const extracted = await ctx.step('extract', async () => {
      await host.sleep(5);
      visit.effect(EXTRACT, ctx.idempotencyKey('extract'));
      return text;
    });
    visit.kept(EXTRACT);
    await ctx.updateProgress(20, 'extracted');
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
    const work = async (item: number, { idempotencyKey }: { idempotencyKey: string }): Promise<number> => {
      await host.sleep(1);
      visit.effect(item, idempotencyKey);
      return item;
    };
    const done = await ctx.map('items', items, work, { key: String, concurrency: LANES });
    for (const item of items) visit.kept(item);
    await ctx.updateProgress(90, 'done');
    await host.sleep(5);
    return { id, total: extracted.length + paid + done.reduce((sum, item) => sum + item, 0) };
  } finally {
    visit.left();
  }
}
