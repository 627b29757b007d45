import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exploreCrashes } from 'rekindle/testing';
import { definePayment, OPTIONS } from './payment.mjs';

const input = { id: 'order-7', amount: 1200, currency: 'EUR', email: 'ada@example.com' };

const outsideIn = (world) => ({
  payments: {
    charge: (key, payment) => world.effect(key, payment),
    find: async (key) => world.effects.find((effect) => effect.key === key),
    refund: (orderId, payment) => world.effect(`refund ${orderId}`, payment),
  },
  mail: { send: (key, letter) => world.effect(key, letter) },
});

test('an order is charged and confirmed once, wherever the worker dies', async () => {
  const report = await exploreCrashes({
    define: (recovery, world) => definePayment(recovery, outsideIn(world)),
    input,
    depth: 2,
    faults: ['crash-after', 'zombie-before'],
    invariant: ({ effects }) => assert.equal(effects.length, 2),
  });
  assert.equal(report.exhaustive, true);
  assert.deepEqual(report.writes, [
    'order-7: start',
    'order-7: step "charge"', // it begins: because of `verify` that is written, too
    'order-7: step "charge"',
    'order-7: step "mail"',
    'order-7: end (completed)',
  ]);
});

/** "A new attempt is a new request." */
const withKeyOfAttempt = (recovery, { payments }) =>
  recovery.withRecovery(async (ctx, { id, amount, currency }) => {
    await ctx.step('charge', () => payments.charge(`${id}/${ctx.attempt}`, { amount, currency }));
    return 'paid';
  }, OPTIONS);

test('a key with the attempt in it charges twice', async () => {
  const exploring = exploreCrashes({
    define: (recovery, world) => withKeyOfAttempt(recovery, outsideIn(world)),
    input,
    sameEffects: false,
    invariant: ({ effects }) => assert.equal(effects.length, 1, 'charged twice'),
  });
  await assert.rejects(exploring, (error) => {
    assert.equal(error.code, 'CRASH_UNSAFE');
    assert.match(error.message, /^Broken by crash-after effect "order-7\/1": .*charged twice/);
    return true;
  });
});

/** "If anything goes wrong, the customer gets the money back." */
const withRefund = (recovery, { payments, mail }) =>
  recovery.withRecovery(async (ctx, { id, amount, currency, email }) => {
    const key = ctx.idempotencyKey('charge');
    try {
      await ctx.step('charge', () => payments.charge(key, { amount, currency }));
      await ctx.step('mail', () => mail.send(ctx.idempotencyKey('mail'), { to: email, amount }));
      return 'paid';
    } catch {
      await payments.refund(id, { amount, currency });
      return 'refunded';
    }
  }, OPTIONS);

test('a catch that takes a lost lease for a failure refunds what another worker has charged', async () => {
  const exploring = exploreCrashes({
    define: (recovery, world) => withRefund(recovery, outsideIn(world)),
    input,
  });
  await assert.rejects(exploring, (error) => {
    assert.equal(error.code, 'CRASH_UNSAFE');
    assert.match(error.message, /^Broken by zombie-.*effects came .*: "refund order-7"/);
    return true;
  });
});
