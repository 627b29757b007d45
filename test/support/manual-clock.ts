export { ManualClock, settled } from '../../src/testing/manual-clock.js';
