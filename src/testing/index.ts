/** Entry of `rekindle/testing`. */
export { arbitraries } from './arbitraries.js';
export type { Arbitraries, CrashScheduleOptions, FastCheckModule } from './arbitraries.js';
export { exploreCrashes } from './explore/explore.js';
export type { ExplorationReport, ExploreOptions, InputArbitrary } from './explore/explore.js';
export type { Define, ExploreRecoveryOptions, ExploreWorld } from './explore/incarnation.js';
export type { CrashFault } from './explore/points.js';
export type { Effect } from './explore/receiver.js';
export { FaultyStorage } from './faulty-storage.js';
export type {
  FaultyStorageOptions,
  StorageCall,
  StorageCallKind,
  StorageFault,
  StorageSnapshot,
} from './faulty-storage.js';
export { ManualClock } from './manual-clock.js';
export { raceWorkers } from './race-workers.js';
export type { RaceOptions, RaceReport } from './race-workers.js';
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
