/** Where `GET /metrics` gets its text from, when nobody has said: prom-client is an optional package, and loaded then. */
import type { Recovery } from '../../index.js';
import type { HttpSettings, MetricsText } from './options.js';
import { Problem } from './problems.js';

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
}

async function made(recovery: Recovery): Promise<MetricsText> {
  try {
    const { prometheusMetrics } = await import('../prometheus/index.js');
    return prometheusMetrics(recovery);
  } catch (error) {
    if (!isMissing(error)) throw error;
    const advice = 'Install prom-client for it, or give the option `prometheus`.';
    throw new Problem(501, 'PROM_CLIENT_MISSING', advice);
  }
}

/** One for all requests. @throws {Problem} 501 */
export function metricsTextOf(recovery: Recovery, { prometheus }: HttpSettings): () => Promise<MetricsText> {
  let one: Promise<MetricsText> | null = null;
  return async () => (prometheus === null || prometheus === false ? (one ??= made(recovery)) : prometheus);
}
