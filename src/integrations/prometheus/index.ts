/**
 * rekindle/prometheus: what recovery does, as metrics of `prom-client`.
 *
 * Gauges and the counters of the whole namespace are read from the storage with each scrape; counters and histograms of
 * this process come from its events and hooks.
 */
import { Registry } from 'prom-client';
import type { RegistryContentType } from 'prom-client';
import { checkOptions, hasMethods } from '../../domain/check-options.js';
import type { Check } from '../../domain/check-options.js';
import { RecoveryError } from '../../errors.js';
import { namespaceFigures } from './figures.js';
import { Reader } from './reading.js';
import type { MetricsSource } from './reading.js';
import { watchProcess } from './watched.js';

export type { MetricsSource } from './reading.js';

/** Options of `prometheusMetrics`. */
export interface PrometheusOptions {
  /** Where the metrics go. Default: a registry of their own; give `register` of `prom-client` to have them with yours. */
  readonly register?: Registry<RegistryContentType> | undefined;
  /** What their names begin with. Default `rekindle_`. Another one for each Recovery that shares a registry. */
  readonly prefix?: string | undefined;
}

/** Metrics of one Recovery. */
export interface PrometheusMetrics {
  /** All metrics of the registry in its text format: the body of `GET /metrics`. Resolves also while the storage is away. */
  readonly text: () => Promise<string>;
  /** The `content-type` of that body. */
  readonly contentType: string;
  readonly register: Registry<RegistryContentType>;
  /** Takes the metrics out of the registry, and stops listening. */
  readonly stop: () => void;
}

const isPrefix: Check = (value) =>
  typeof value === 'string' && /^([A-Za-z_:][\w:]*)?$/.test(value)
    ? null
    : 'must be letters, digits and underscores, such as `rekindle_`';

const isSource: Check = hasMethods('health', 'metrics', 'on', 'instrument');

const CHECKS = {
  register: hasMethods('registerMetric', 'getSingleMetric', 'removeSingleMetric', 'metrics'),
  prefix: isPrefix,
};

/**
 * Metrics of a Recovery for Prometheus. Labels are names of tasks, states, kinds of alerts and names of checks; ids,
 * payloads and messages are in none of them.
 * @throws `INVALID_OPTION`, also when the registry has metrics of these names already
 * @example
 * const metrics = prometheusMetrics(recovery);
 * app.get('/metrics', async (_req, res) => res.type(metrics.contentType).send(await metrics.text()));
 */
export function prometheusMetrics(
  recovery: MetricsSource,
  options: PrometheusOptions = {},
): PrometheusMetrics {
  const lacks = isSource(recovery);
  if (lacks !== null)
    throw new RecoveryError('INVALID_OPTION', `prometheusMetrics needs a Recovery first: it ${lacks}.`);
  checkOptions('prometheusMetrics', options, CHECKS, []);
  const { register = new Registry(), prefix = 'rekindle_' } = options;
  if (register.getSingleMetric(`${prefix}up`) !== undefined) {
    throw new RecoveryError(
      'INVALID_OPTION',
      `prometheusMetrics: the registry has metrics that begin with "${prefix}" already. Call stop() on those first, or give these another prefix or registry.`,
    );
  }
  // In a registry of their own first: where one of the names is taken, none is to be left behind.
  const made = new Registry();
  const figures = namespaceFigures(new Reader(recovery), made, prefix);
  const watched = watchProcess(recovery, made, prefix);
  const names = [...figures, ...watched.names];
  const taken = names.filter((name) => register.getSingleMetric(name) !== undefined);
  if (taken.length > 0) {
    watched.stop();
    throw new RecoveryError(
      'INVALID_OPTION',
      `prometheusMetrics: the registry has other metrics of these names: ${taken.join(', ')}. Give these another prefix or registry.`,
    );
  }
  for (const name of names) {
    const metric = made.getSingleMetric(name);
    if (metric !== undefined) register.registerMetric(metric);
  }
  return {
    text: () => register.metrics(),
    get contentType() {
      return register.contentType;
    },
    register,
    stop: () => {
      watched.stop();
      for (const name of names) register.removeSingleMetric(name);
    },
  };
}
