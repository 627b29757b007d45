import type { Options } from 'tsup';

// tsup's declaration build sets options that TypeScript 6 calls deprecated.
const compilerOptions = { ignoreDeprecations: '6.0' };
const main = {
  index: 'src/index.ts',
  redis: 'src/storage/redis.ts',
  sqlite: 'src/storage/sqlite.ts',
  testing: 'src/testing/index.ts',
};
const schemas = { schemas: 'src/schemas/index.ts' };
const http = { http: 'src/integrations/http/index.ts' };

const shared: Options = {
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: false,
};

const config: Options[] = [
  // Types of integrations are built with the main entry's: a class with private fields is another one in another file.
  { ...shared, entry: main, dts: { compilerOptions, entry: { ...main, ...http } } },
  // By themselves: what they would share with the main entry is little, and a file more for everybody to load.
  { ...shared, entry: { ...schemas, ...http }, dts: { compilerOptions, entry: schemas } },
];

export default config;
