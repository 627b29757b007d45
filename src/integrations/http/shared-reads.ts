/** Reads of the whole namespace that anybody may ask for: however many do at once, there is one of each. */
import type { HealthReport, RecoveryMetrics } from '../../domain/operations.js';
import type { Recovery } from '../../index.js';
import type { HttpSettings } from './options.js';

/** Who asks while one is under way gets what that one finds. */
function shared<T>(read: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | null = null;
  return async () => {
    underWay ??= read().finally(() => {
      underWay = null;
    });
    return underWay;
  };
}

export class SharedReads {
  readonly health: () => Promise<HealthReport>;
  readonly metrics: () => Promise<RecoveryMetrics>;

  constructor(recovery: Recovery, settings: HttpSettings) {
    this.health = shared(() => healthOf(recovery, settings));
    this.metrics = shared(() => recovery.metrics());
  }
}

/** A read of one's own: of what happened before it is asked for, it misses nothing. */
export function healthOf(recovery: Recovery, { thresholds }: HttpSettings): Promise<HealthReport> {
  return recovery.health(thresholds === null ? {} : { thresholds });
}
