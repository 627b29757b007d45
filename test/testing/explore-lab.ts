/** What tests of `exploreCrashes` share. */
import { expect } from 'vitest';
import { isRecoveryError } from '../../src/errors.js';
import type { RecoveryError } from '../../src/errors.js';
import { exploreCrashes } from '../../src/testing/explore/explore.js';
import type { ExplorationReport, ExploreOptions } from '../../src/testing/explore/explore.js';
import type { Definition, Order } from './seeded-bugs.js';

export const ORDER: Order = { id: 'order-7', total: 12 };

export async function errorOf(exploring: Promise<ExplorationReport>): Promise<RecoveryError> {
  const error: unknown = await exploring.then(
    (report) => expect.unreachable(`${report.runs} runs found nothing`),
    (thrown: unknown) => thrown,
  );
  if (!isRecoveryError(error)) throw error;
  return error;
}

export const explore = (
  define: Definition,
  options: Partial<ExploreOptions<Order>> = {},
): Promise<ExplorationReport> => exploreCrashes<Order>({ define, input: ORDER, seed: 1, ...options });
