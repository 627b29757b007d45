import type { Options } from 'tsup';

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
];

export default config;
