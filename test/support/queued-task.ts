import type { Recovery } from '../../src/runtime/recovery.js';
import type { WrappedTask } from '../../src/runtime/with-recovery.js';
import type { Gate } from './gate.js';

/** An ordinary task, which knows nothing of jobs. */
export function taskOf(
  recovery: Recovery,
  ran: string[],
  held: Pick<Gate, 'pass'> | null = null,
): WrappedTask<[id: string], string> {
  return recovery.withRecovery(
    async (ctx, id: string) => {
      await ctx.step('first', () => void ran.push(`${id} first`));
      await held?.pass(ctx.signal);
      ran.push(`${id} ${ctx.attempt}`);
      return `${id}!`;
    },
    { name: 'task', taskId: (id) => id },
  );
}
