/** Recoveries with metrics, and scrapes as a parser of the Prometheus text reads them. */
import parse from 'parse-prometheus-text-format';
import { prometheusMetrics } from '../../src/integrations/prometheus/index.js';
import type { PrometheusMetrics, PrometheusOptions } from '../../src/integrations/prometheus/index.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { WrappedTask } from '../../src/runtime/with-recovery.js';
import type { Proc, ProcOptions, World } from '../runtime/harness.js';

interface Observed extends Proc {
  readonly metrics: PrometheusMetrics;
  readonly scrape: () => Promise<Scrape>;
}

export function observed(world: World, options: PrometheusOptions & { proc?: ProcOptions } = {}): Observed {
  const { proc: given = {}, ...rest } = options;
  const proc = world.proc(given);
  const metrics = prometheusMetrics(proc.recovery, rest);
  return { ...proc, metrics, scrape: async () => new Scrape(await world.until(metrics.text())) };
}

/** A scrape that was read. */
export class Scrape {
  readonly text: string;
  readonly names: readonly string[];
  readonly types: ReadonlyMap<string, string>;
  readonly #samples = new Map<string, string>();

  constructor(text: string) {
    this.text = text;
    const families = parse(text);
    this.names = families.map(({ name }) => name);
    this.types = new Map(families.map(({ name, type }) => [name, type]));
    for (const { name, metrics } of families) {
      for (const { labels = {}, value } of metrics)
        if (value !== undefined) this.#samples.set(name + JSON.stringify(labels), value);
    }
  }

  /** Null: there is no such sample. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | null {
    const value = this.#samples.get(name + JSON.stringify(labels));
    return value === undefined ? null : Number(value);
  }

  /** How often a histogram was fed, and with how much. */
  histogram(name: string, labels: string): readonly [count: number, sum: number] {
    const read = (part: string): number => {
      const line = this.text.split('\n').find((each) => each.startsWith(`${name}_${part}{${labels}} `));
      return Number(line?.split(' ').at(-1));
    };
    return [read('count'), read('sum')];
  }
}

export function define(
  { recovery }: Proc,
  body: (ctx: RecoveryContext, id: string) => unknown,
  name = 'import',
): WrappedTask<[id: string], unknown> {
  return recovery.withRecovery(body, { name, taskId: (id: string) => id });
}
