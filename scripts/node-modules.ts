/**
 * How the built library reaches Node's own modules. An `import` of one makes it an ES module first, which reads each of
 * its exports, getters included: that loads WebCrypto (`crypto`) and `fs/promises`, and was a seventh of what
 * `import 'rekindle'` took. `process.getBuiltinModule` gives the module as it is.
 */
import { readFileSync } from 'node:fs';
import type { Plugin } from './cli-bundle.js';

const NAMED = /^import \{([^}]*)\} from '(node:[^']+)';$/gm;

function withoutImports(source: string): string {
  return source.replaceAll(NAMED, (_, names: string, module: string) => {
    if (/\btype\b/.test(names)) throw new Error(`Import types of ${module} by themselves.`);
    return `const {${names.replaceAll(' as ', ': ')}} = process.getBuiltinModule('${module}');`;
  });
}

export const nodeModules: Plugin = {
  name: 'node-modules',
  setup(build) {
    build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => ({
      contents: withoutImports(readFileSync(path, 'utf8')),
      loader: 'ts',
    }));
  },
};
