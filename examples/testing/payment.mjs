/** An order is charged at a payment service and confirmed by mail. */
export const OPTIONS = { name: 'pay', taskId: (order) => order.id };

export function definePayment(recovery, { payments, mail }) {
  return recovery.withRecovery(async (ctx, order) => {
    const { amount, currency } = order;
    const key = ctx.idempotencyKey('charge');
    await ctx.step('charge', () => payments.charge(key, { amount, currency }), {
      // Asked when an earlier attempt began to charge and was not heard of again.
      verify: async ({ idempotencyKey }) =>
        (await payments.find(idempotencyKey)) ? { done: true, result: undefined } : { done: false },
    });
    await ctx.step('mail', () => mail.send(ctx.idempotencyKey('mail'), { to: order.email, amount }));
    return 'paid';
  }, OPTIONS);
}
