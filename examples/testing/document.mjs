/**
 * A document goes through extraction, an analysis of its pages, a search index and a table. The module makes no
 * Recovery: the worker does, and hands in what is outside.
 */
export const OPTIONS = { name: 'process-document', taskId: ({ id }) => id };

// A zombie's fence is lower than the one in the row: it changes nothing.
const SAVE = 'UPDATE documents SET status = ?1, words = ?2, fence = ?3 WHERE id = ?4 AND fence <= ?3';

export function defineDocument(recovery, { extract, database, index }) {
  return recovery.withRecovery(async (ctx, { id }) => {
    const save = async (status, words) => {
      const changes = await database.run(SAVE, [status, words, ctx.fence, id]);
      if (changes === 0) throw new Error(`Another worker has ${id}.`);
    };
    await save('processing', null);
    const pages = await ctx.step('extract', () => extract(id));
    const counts = await ctx.map('pages', pages, ({ text }) => text.split(' ').length, {
      key: ({ number }) => `${number}`,
      concurrency: 2,
    });

    // The cursor moves when the page is in the index, not before.
    for (let next = ctx.resumedFrom?.recoverableData.next ?? 0; next < pages.length; next += 1) {
      await index.put(`${id}/${pages[next].number}`, pages[next].text);
      const progressPercent = (100 * (next + 1)) / pages.length;
      await ctx.createCheckpoint({ name: 'indexed', progressPercent, recoverableData: { next: next + 1 } });
    }

    const words = counts.reduce((sum, count) => sum + count, 0);
    await save('done', words);
    return { id, words };
  }, OPTIONS);
}
