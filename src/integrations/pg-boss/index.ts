/**
 * rekindle/pg-boss: jobs of pg-boss whose work survives their worker, and pg-boss as the way that recovered tasks take.
 *
 * Nothing of pg-boss is loaded here, and none of its types are: those differ between its versions.
 */
export { pgBossDispatcher } from './dispatcher.js';
export type { DispatchBoss, DispatchedJobOptions, PgBossDispatcherOptions } from './dispatcher.js';
export type { ProcessorBoss, JobProcessor, QueuedJob } from './delivery.js';
export { dispatchedProcessor, recoverableProcessor } from './processor.js';
export type {
  DispatchedProcessorOptions,
  ProcessorRecovery,
  JobFunction,
  RecoverableProcessorOptions,
} from './processor.js';
