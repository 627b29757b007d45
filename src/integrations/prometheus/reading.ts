/** What is read of the storage for a scrape: once, however many metrics are made of it. */
import type { HealthReport, RecoveryMetrics } from '../../domain/operations.js';
import type { Recovery } from '../../runtime/recovery.js';

/** The parts of a Recovery that metrics are made of. */
export type MetricsSource = Pick<Recovery, 'health' | 'metrics' | 'on' | 'instrument'>;

/** Null is what could not be read. */
export interface Reading {
  readonly health: HealthReport | null;
  readonly metrics: RecoveryMetrics | null;
}

export class Reader {
  readonly #source: Pick<MetricsSource, 'health' | 'metrics'>;
  #underWay: Promise<Reading> | null = null;

  constructor(source: Pick<MetricsSource, 'health' | 'metrics'>) {
    this.#source = source;
  }

  /** Never rejects: a storage that is away must not take the process's own metrics with it. */
  read(): Promise<Reading> {
    this.#underWay ??= this.#look().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  async #look(): Promise<Reading> {
    const [health, metrics] = await Promise.all([
      this.#source.health().catch(() => null),
      this.#source.metrics().catch(() => null),
    ]);
    return { health, metrics };
  }
}
