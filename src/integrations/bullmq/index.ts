/**
 * rekindle/bullmq: jobs of BullMQ whose work survives their worker, and BullMQ as the way that recovered tasks take.
 *
 * Nothing of BullMQ is loaded here: its special errors are known by their names.
 */
export { bullmqDispatcher } from './dispatcher.js';
export type { BullmqDispatcherOptions, DispatchQueue } from './dispatcher.js';
export { cancelOnLostLock } from './lost-lock.js';
export type { LockWorker } from './lost-lock.js';
export { dispatchedProcessor, recoverableProcessor } from './processor.js';
export type {
  DispatchedProcessorOptions,
  JobFunction,
  JobProcessor,
  ProcessorRecovery,
  RecoverableProcessorOptions,
} from './processor.js';
