import type { Options } from 'tsup';

const shared: Options = {
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: false,
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
      http: 'src/integrations/http/index.ts',
      opentelemetry: 'src/integrations/opentelemetry/index.ts',
      prometheus: 'src/integrations/prometheus/index.ts',
      schemas: 'src/schemas/index.ts',
    },
  },
];

// Types are made together: a class is the same type in two entries only when it is declared once.
const entries = Object.assign({}, ...config.map((each) => each.entry));
config.push({ ...shared, entry: entries, dts: { ...types, only: true } });

export default config;
