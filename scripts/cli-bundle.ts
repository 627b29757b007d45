/** How tsup puts the command line together: with its own libraries inside, and this package's entries outside. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

interface Metafile {
  readonly inputs: Readonly<Record<string, unknown>>;
}

/** The part of esbuild's plugin interface that is used; esbuild itself is tsup's. */
interface Build {
  readonly initialOptions: { metafile?: boolean | undefined };
  onResolve(
    options: { filter: RegExp },
    callback: (args: { path: string; resolveDir: string }) => { path: string; external: boolean } | undefined,
  ): void;
  onLoad(
    options: { filter: RegExp },
    callback: (args: { path: string }) => { contents: string; loader: 'ts' },
  ): void;
  onEnd(callback: (result: { metafile?: Metafile | undefined }) => void): void;
}

export interface Plugin {
  readonly name: string;
  setup(build: Build): void;
}

/** Sources that are entries of the package, by the file that they are built into. */
const ENTRIES: Readonly<Record<string, string>> = {
  'src/index.js': './index.js',
  'src/storage/redis.js': './redis.js',
  'src/storage/sqlite.js': './sqlite.js',
};

/** One copy of the library in a process: the program loads the entries that everybody loads. */
export const sharedEntries: Plugin = {
  name: 'shared-entries',
  setup(build) {
    build.onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
      const entry = ENTRIES[relative(process.cwd(), join(resolveDir, path))];
      return entry === undefined ? undefined : { path: entry, external: true };
    });
  },
};

/** Writes the licenses of all packages that were bundled. Fails the build when one has none. */
export const bundledLicenses: Plugin = {
  name: 'bundled-licenses',
  setup(build) {
    build.initialOptions.metafile = true;
    build.onEnd(({ metafile }) => {
      const roots = Object.keys(metafile?.inputs ?? {}).flatMap((input) => {
        const found = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input);
        return found === null ? [] : [found[0]];
      });
      const texts = [...new Set(roots)].toSorted().map(licenseOf);
      const head = 'dist/cli.js contains the following packages.\n';
      writeFileSync('dist/cli.licenses.txt', [head, ...texts].join(`\n${'-'.repeat(80)}\n\n`));
    });
  },
};

function licenseOf(root: string): string {
  const { name, version, license }: Record<string, unknown> = Object(
    JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')),
  );
  const file = readdirSync(root).find((each) => /^licen[cs]e[-.\w]*$/i.test(each));
  if (file === undefined) throw new Error(`${String(name)} has no license file: ${dirname(root)}`);
  const text = readFileSync(join(root, file), 'utf8').trim();
  return `${String(name)} ${String(version)} (${String(license)})\n\n${text}\n`;
}
