import type { Command } from '../context.js';

/** `rekindle plan` */
export const showPlan: Command<object> = async ({ session }) => {
  const tasks = await session.recovery.planRecovery();
  return {
    value: { tasks },
    show: (out) => {
      if (tasks.length === 0) out.note('There is nothing to recover.');
      else
        out.table(
          ['task', 'name', 'decision', 'strategy', 'reason'],
          tasks.map(({ taskId, name, decision, strategy, reason }) => [
            taskId,
            name,
            decision,
            strategy,
            reason,
          ]),
        );
      if (tasks.length > 0 && session.direct !== null)
        out.note('What would become of them only their functions tell: give the module with --import.');
    },
  };
};
