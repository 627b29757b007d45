import type { Options } from 'tsup';
import { bundledLicenses, sharedEntries } from './scripts/cli-bundle.js';
import { nodeModules } from './scripts/node-modules.js';

const shared: Options = {
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: false,
  esbuildPlugins: [nodeModules],
};

// tsup's declaration build sets options that TypeScript 6 calls deprecated.
const types = { compilerOptions: { ignoreDeprecations: '6.0' } };

// By themselves: what integrations and schemas would share with the main entry is little, and files more for everybody
// to load.
const config: Options[] = [
  {
    ...shared,
    entry: {
      index: 'src/index.ts',
      redis: 'src/storage/redis.ts',
      sqlite: 'src/storage/sqlite.ts',
      testing: 'src/testing/index.ts',
    },
  },
  {
    ...shared,
    entry: {
      bullmq: 'src/integrations/bullmq/index.ts',
      http: 'src/integrations/http/index.ts',
      opentelemetry: 'src/integrations/opentelemetry/index.ts',
      'pg-boss': 'src/integrations/pg-boss/index.ts',
      prometheus: 'src/integrations/prometheus/index.ts',
      schemas: 'src/schemas/index.ts',
    },
  },
];

// Types are made together: a class is the same type in two entries only when it is declared once.
const entries = Object.assign({}, ...config.map((each) => each.entry));
config.push({ ...shared, entry: entries, dts: { ...types, only: true } });

// The command line: its libraries are inside, so that the package itself depends on few.
config.push({
  ...shared,
  entry: { cli: 'src/cli/main.ts' },
  splitting: false,
  noExternal: ['cli-progress', 'cli-table3', 'commander'],
  // What is inside was written for CommonJS.
  banner: {
    js: "import { createRequire as makeRequire } from 'node:module';\nconst require = makeRequire(import.meta.url);",
  },
  esbuildPlugins: [sharedEntries, bundledLicenses],
});

export default config;
