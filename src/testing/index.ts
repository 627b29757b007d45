/** Entry of `rekindle/testing`. */
export { formatSuiteReport, storageSuite } from './storage-suite.js';
export type {
  StorageSuite,
  StorageSuiteOptions,
  SuiteCase,
  SuiteOpenOptions,
  SuiteReport,
  SuiteRunner,
  SuiteSkip,
  SuiteStore,
} from './storage-suite.js';
export type { Law, StorageFaults } from './suite/bench.js';
