/** When a figure is worth an alarm. */
import { isObject, number } from '../domain/check-options.js';
import type { HealthReason, Thresholds, ThresholdSettings } from '../domain/operations.js';

/** Five figures as they are; null where there is nothing to judge. */
export interface Judged {
  readonly stalled: number;
  readonly processing: number;
  readonly queue: number;
  readonly oldestProcessingMs: number | null;
  readonly successRatePercent: number | null;
}

const DEFAULT_THRESHOLDS: ThresholdSettings = {
  stalled: 10,
  processing: 50,
  queue: 100,
  oldestProcessingMs: 3_600_000,
  successRatePercent: 90,
};

const LARGEST: Readonly<Record<keyof ThresholdSettings, number>> = {
  stalled: Number.MAX_SAFE_INTEGER,
  processing: Number.MAX_SAFE_INTEGER,
  queue: Number.MAX_SAFE_INTEGER,
  oldestProcessingMs: Number.MAX_SAFE_INTEGER,
  successRatePercent: 100,
};

function isThreshold(name: string): name is keyof ThresholdSettings {
  return Object.hasOwn(DEFAULT_THRESHOLDS, name);
}

/** For `checkOptions`. */
export function areThresholds(value: unknown): string | null {
  if (!isObject(value)) return 'must be an object';
  for (const [name, given] of Object.entries(value)) {
    if (!isThreshold(name)) return `has no "${name}" (known: ${Object.keys(DEFAULT_THRESHOLDS).join(', ')})`;
    const check = number(0, LARGEST[name], name !== 'successRatePercent');
    const problem = given === undefined || given === null ? null : check(given);
    if (problem !== null) return `${name} ${problem}, or null`;
  }
  return null;
}

/** Those that are given, in place of the others. */
export function thresholdsOf(
  given: Thresholds = {},
  otherwise: ThresholdSettings = DEFAULT_THRESHOLDS,
): ThresholdSettings {
  const pick = (name: keyof ThresholdSettings): number | null => {
    const value = given[name];
    return value === undefined ? otherwise[name] : value;
  };
  return {
    stalled: pick('stalled'),
    processing: pick('processing'),
    queue: pick('queue'),
    oldestProcessingMs: pick('oldestProcessingMs'),
    successRatePercent: pick('successRatePercent'),
  };
}

/** What is over its threshold, or, for the rate of success, under it. */
export function judge(judged: Judged, thresholds: ThresholdSettings): HealthReason[] {
  const { stalled, processing, queue, oldestProcessingMs, successRatePercent } = judged;
  return [
    over('stalled', stalled, thresholds.stalled, `running tasks without progress: ${stalled}`),
    over('processing', processing, thresholds.processing, `running tasks: ${processing}`),
    over('queue', queue, thresholds.queue, `tasks in the recovery queue: ${queue}`),
    over(
      'oldest_processing',
      oldestProcessingMs,
      thresholds.oldestProcessingMs,
      `the oldest attempt has been running for ${seconds(oldestProcessingMs ?? 0)}`,
      seconds,
    ),
    under(successRatePercent, thresholds.successRatePercent),
  ].filter((reason) => reason !== null);
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}

function over(
  code: HealthReason['code'],
  value: number | null,
  threshold: number | null,
  message: string,
  unit: (value: number) => string = String,
): HealthReason | null {
  if (value === null || threshold === null || value <= threshold) return null;
  const text = `${message}, over ${unit(threshold)}.`;
  return { code, severity: 'degraded', message: text, value, threshold };
}

function under(value: number | null, threshold: number | null): HealthReason | null {
  if (value === null || threshold === null || value >= threshold) return null;
  const message = `of the recoveries of the last 24 h ${value.toFixed(1)} % succeeded, under ${threshold} %.`;
  return { code: 'success_rate', severity: 'degraded', message, value, threshold };
}
