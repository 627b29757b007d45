import type { Options } from 'tsup';
import { bundledLicenses, sharedEntries } from './scripts/cli-bundle.js';

const shared: Options = {
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: false,
  // tsup's declaration build sets options that TypeScript 6 calls deprecated.
  dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
};

const config: Options[] = [
  {
    ...shared,
    entry: {
      index: 'src/index.ts',
      redis: 'src/storage/redis.ts',
      sqlite: 'src/storage/sqlite.ts',
      testing: 'src/testing/index.ts',
      opentelemetry: 'src/integrations/opentelemetry/index.ts',
      prometheus: 'src/integrations/prometheus/index.ts',
    },
  },
  // By itself: what it would share with the main entry is a few numbers, and a file more for everybody to load.
  { ...shared, entry: { schemas: 'src/schemas/index.ts' } },
  // The command line: its libraries are inside, so that the package itself depends on few.
  {
    ...shared,
    entry: { cli: 'src/cli/main.ts' },
    dts: false,
    splitting: false,
    noExternal: ['cli-progress', 'cli-table3', 'commander'],
    // What is inside was written for CommonJS.
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module';\nconst require = makeRequire(import.meta.url);",
    },
    esbuildPlugins: [sharedEntries, bundledLicenses],
  },
];

export default config;
