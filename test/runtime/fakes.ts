/** Parts of an engine, for tests of what needs only a few of them. */
import type { Engine, Handler } from '../../src/runtime/engine.js';
import { settingsOf } from '../../src/runtime/options.js';
import type { Settings } from '../../src/runtime/options.js';
import { memoryStorage } from '../../src/storage/memory.js';

type Parts = { readonly [Part in keyof Engine]?: Partial<Engine[Part]> };

/** An engine of some of its parts; whoever asks for another one gets nothing. */
export function engineWith(parts: Parts): Engine {
  return Object.assign(Object.create(null), parts);
}

export function settingsWith(change: Partial<Settings> = {}): Settings {
  return { ...settingsOf({ storage: memoryStorage() }), ...change };
}

export function handlerWith(change: Partial<Handler> = {}): Handler {
  return {
    name: 'n',
    priority: 0,
    checkpointFrequency: null,
    ifRunning: null,
    recoverable: true,
    crashBudget: { count: 3, windowMs: 3_600_000 },
    strategies: null,
    validate: null,
    version: '1',
    migrate: null,
    onVersionMismatch: 'restart',
    input: null,
    dispatch: null,
    group: null,
    retentionMs: undefined,
    maxAttempts: 1,
    document: null,
    maxDurationMs: null,
    maxSilenceMs: null,
    cleanup: null,
    discover: null,
    userContext: null,
    invoke: () => undefined,
    ...change,
  };
}
