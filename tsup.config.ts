import type { Options } from 'tsup';

const config: Options = {
  entry: {
    index: 'src/index.ts',
    redis: 'src/storage/redis.ts',
    schemas: 'src/schemas/index.ts',
    sqlite: 'src/storage/sqlite.ts',
    testing: 'src/testing/index.ts',
  },
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  splitting: true,
  clean: true,
  sourcemap: false,
  // tsup's declaration build sets options that TypeScript 6 calls deprecated.
  dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
};

export default config;
