/**
 * rekindle: Node workers that survive their own death.
 *
 * Adapters, zod schemas and the testing kit have entries of their own: `rekindle/sqlite`, `rekindle/redis`,
 * `rekindle/schemas`, `rekindle/testing`.
 */
export { isRecoveryError, RecoveryError } from './errors.js';
export type { RecoveryErrorCode, RecoveryErrorOptions } from './errors.js';
export type { Clock } from './clock.js';
export type { RandomSource } from './random.js';
export type { RecoveryEvent, RecoveryEventType } from './domain/events.js';
export type {
  Checkpoint,
  CrashBudget,
  CrashEvidence,
  Decision,
  JsonValue,
  OrphanCause,
  Plan,
  RecoveryAction,
  RecoveryStrategy,
  StoredError,
  TaskRecord,
  TaskSnapshot,
  TaskStatus,
  ValidationAnswer,
  ValidationEvidence,
  VersionChange,
} from './domain/task.js';
export type {
  AttemptInfo,
  CheckpointWritten,
  PassFigures,
  RecoveryHooks,
  StepInfo,
  Takeover,
  Watched,
  WatchedPass,
} from './domain/hooks.js';
export { aesGcmCodec, chainCodecs, gzipCodec } from './domain/codec.js';
export type { AesGcmOptions, GzipOptions, PayloadCodec } from './domain/codec.js';
export type {
  SchemaInput,
  SchemaIssue,
  SchemaOutput,
  SchemaResult,
  StandardSchema,
} from './domain/schema.js';
export { checkBatch, incremented } from './storage/check.js';
export { MAX_VALUE_BYTES, TOKEN_FIELD } from './storage/storage.js';
export { memoryStorage } from './storage/memory.js';
export type { MemoryStorageOptions } from './storage/memory.js';
export type {
  Batch,
  Bound,
  CallOptions,
  CommitReply,
  EventPage,
  Fields,
  FromNow,
  Guard,
  IndexEntry,
  Outcome,
  RangeQuery,
  Refusal,
  RefusalCode,
  Storage,
  StorageReport,
  StoredEvent,
  StoredRecord,
  Value,
} from './storage/storage.js';
export type { FailedDocumentRecord, FailureGroup } from './domain/failed-document.js';
export type {
  DocumentFilter,
  DocumentProgress,
  DocumentRecoveryConfig,
  DocumentStatus,
  FailureAnalysis,
  RedriveFilter,
} from './domain/document-recovery.js';
export type { DispatchedTask, Dispatcher, QueueCounts, QueueState, TaskEnvelope } from './domain/dispatch.js';
export type {
  CheckResult,
  CleanupOptions,
  CleanupReport,
  HealthOptions,
  HealthReason,
  HealthReasonCode,
  HealthReport,
  RecoveryMetrics,
  Retention,
  TaskAttempt,
  TaskHistory,
  Thresholds,
} from './domain/operations.js';
export type { CheckpointStore } from './state/checkpoint-store.js';
export type { DuplicateDocument, DuplicateItem, DuplicateReport, MiscountedMap } from './state/duplicates.js';
export type { EventsOptions } from './state/event-log.js';
export type { FailedDocumentsTracker } from './state/failed-documents.js';
export type {
  FailureFilter,
  FailureListOptions,
  FailurePage,
  FailureReport,
} from './state/failure-filter.js';
export type {
  CancelOutcome,
  ListOptions,
  TaskCounts,
  TaskPage,
  TaskRegistry,
} from './state/task-registry.js';
export { RecoveryPlanner } from './recovery/planner.js';
export {
  checkpointResume,
  cleanRestart,
  crashBudget,
  defaultStrategies,
  validationOnly,
  versionPolicy,
} from './recovery/strategies.js';
export type { StrategyOptions } from './recovery/strategies.js';
export { runDocumentRecovery } from './run-document-recovery.js';
export type { DocumentRecoveryRunOptions } from './run-document-recovery.js';
export { createRecovery } from './runtime/create-recovery.js';
export type { Recovery, ShutdownOptions } from './runtime/recovery.js';
export type { CheckpointInput, MapItems, RecoveryContext, RunStep } from './runtime/context.js';
export type { FailedItem } from './runtime/item-keys.js';
export type { ItemContext, MapCount, MapOptions, MapOutcome } from './runtime/items.js';
export type { StepOptions, StepVerdict } from './runtime/steps.js';
export type {
  DocumentProcessor,
  DocumentRecoveryManager,
  DocumentRecoveryReport,
} from './runtime/document-manager.js';
export type { EventListener } from './runtime/emitter.js';
export type { Logger } from './runtime/logging.js';
export type { Limits, RecoveryOptions } from './runtime/options.js';
export { currentTask } from './runtime/task-context.js';
export type { SignalOptions } from './runtime/signals.js';
export type {
  CleanupReason,
  JsonObject,
  Migrated,
  SchemaTaskOptions,
  TaskOptions,
} from './runtime/task-options.js';
export type { RecoveryReport, TaskReport } from './runtime/report.js';
export type { PlannedRecovery } from './runtime/planning.js';
export type { RecoverFilter, RecoveryRun, StartupOptions } from './runtime/runs.js';
export type { StartedTask, TaskFunction, WithRecovery, WrappedTask } from './runtime/with-recovery.js';
