/**
 * Entry of `rekindle/schemas`: zod schemas of what other programs read, and of the options they hand over. The library
 * itself does not load them; `rekindle/http` does.
 *
 * What a newer version of the library adds to a record is left out, not refused.
 *
 * @example const documents = z.array(failedDocumentSchema).parse(JSON.parse(text));
 */
export {
  documentRecoveryConfigSchema,
  documentStatusSchema,
  failedDocumentSchema,
  failureAnalysisSchema,
  failureGroupSchema,
} from './documents.js';
export { healthReportSchema, recoveryMetricsSchema } from './operations.js';
export { checkpointSchema, recoveryEventSchema, taskHistorySchema, taskRecordSchema } from './tasks.js';
