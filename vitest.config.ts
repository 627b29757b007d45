import { configDefaults, defineConfig } from 'vitest/config';
import type { ViteUserConfig } from 'vitest/config';

/** Files that mostly wait, for servers and processes of their own. */
const WAITING = [
  'test/process/**/*.test.ts',
  'test/storage/*redis*.test.ts',
  'test/support/*.test.ts',
  'test/examples.test.ts',
  'test/docs.test.ts',
];

const shared = { extends: true as const };

const config: ViteUserConfig = defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // On two cores: what computes one file at a time per core, what waits one more.
    projects: [
      {
        ...shared,
        test: {
          name: 'computing',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...WAITING],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        ...shared,
        test: { name: 'waiting', include: WAITING, maxWorkers: 3, sequence: { groupOrder: 1 } },
      },
    ],
  },
});

export default config;
