/** Many inputs, drawn by fast-check, the failing ones shrunk. Loaded only for those: fast-check is an optional peer. */
import { inspect } from 'node:util';
import { isRecoveryError, RecoveryError } from '../../errors.js';
import { loadFastCheck } from '../load-fast-check.js';
import type { ExplorationReport, InputArbitrary } from './explore.js';

interface Drawing {
  readonly seed: number;
  readonly inputs: number;
}

export async function exploreInputs<I>(
  arbitrary: InputArbitrary<I>,
  { seed, inputs }: Drawing,
  explore: (input: I) => Promise<ExplorationReport>,
): Promise<ExplorationReport> {
  const fc = await loadFastCheck('An arbitrary input');
  const reports: ExplorationReport[] = [];
  const property = fc.asyncProperty(
    arbitrary as unknown as import('fast-check').Arbitrary<I>,
    async (input) => {
      reports.push(await explore(input));
    },
  );
  const checked = await fc.check(property, { seed, numRuns: inputs });
  if (checked.failed) {
    const [input] = checked.counterexample ?? [];
    throw smallest(input, checked.errorInstance, { seed, path: checked.counterexamplePath });
  }
  const [first] = reports;
  if (first === undefined) throw new RecoveryError('INVALID_OPTION', 'exploreCrashes: no input was drawn.');
  return {
    ...first,
    runs: reports.reduce((sum, { runs }) => sum + runs, 0),
    exhaustive: reports.every(({ exhaustive }) => exhaustive),
    notes: [...new Set(reports.flatMap(({ notes }) => notes))],
  };
}

/** The error of the smallest input that fails. */
function smallest(
  input: unknown,
  error: unknown,
  { seed, path }: { readonly seed: number; readonly path: string | null },
): unknown {
  if (!isRecoveryError(error)) return error;
  const drawn = `Input, the smallest found (seed ${seed}, fast-check's path ${path ?? ''}): ${inspect(input, { depth: 6 })}`;
  return new RecoveryError(
    error.code,
    `${drawn}\n${error.message} Give that input instead of the arbitrary.`,
    {
      details: { ...error.details, input, seed },
      cause: error,
    },
  );
}
