/** Input schemas of any library that speaks Standard Schema (zod, valibot, arktype): https://standardschema.dev */
import { messageOf, RecoveryError } from '../errors.js';
import { isObject } from './check-options.js';
import type { Check } from './check-options.js';

/** One thing that is wrong with a value. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema says about a value. */
export type SchemaResult<Output> =
  { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly SchemaIssue[] };

/** The part of Standard Schema, version 1, that is used here. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** What callers give to a schema. */
export type SchemaInput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input'];
/** What a schema makes of it. */
export type SchemaOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output'];

export const isSchema: Check = (value) => {
  // Some libraries' schemas are functions.
  const standard: unknown =
    isObject(value) || typeof value === 'function' ? Reflect.get(value, '~standard') : null;
  return isObject(standard) && typeof standard['validate'] === 'function'
    ? null
    : "must be a Standard Schema, with '~standard'.validate";
};

/** Issues named in a message; more are counted. */
const NAMED = 10;

function pathOf({ path = [] }: SchemaIssue): string {
  const parts = path.map((part) => String(typeof part === 'object' ? part.key : part));
  return parts.length === 0 ? 'the input' : parts.join('.');
}

/** What is wrong, in words. */
type Issues = readonly { readonly path: string; readonly message: string }[];

function issuesOf(given: unknown): Issues {
  try {
    if (!Array.isArray(given)) return [];
    return given.map((issue: SchemaIssue) => ({ path: pathOf(issue), message: messageOf(issue.message) }));
  } catch (thrown) {
    return [{ path: 'the input', message: `its issues can't be read: ${messageOf(thrown)}` }];
  }
}

/** The parsed input. @throws `INPUT_INVALID` naming what is wrong, by path */
export async function parseInput(schema: StandardSchema, taskName: string, input: unknown): Promise<unknown> {
  let issues: Issues | null;
  let value: unknown;
  try {
    const result: unknown = await schema['~standard'].validate(input);
    if (!isObject(result)) throw new TypeError('it gave no answer');
    // Foreign code: what it answers may do anything when it is looked at.
    ({ value } = result);
    issues = result['issues'] === undefined ? null : issuesOf(result['issues']);
  } catch (cause) {
    throw new RecoveryError(
      'INPUT_INVALID',
      `The input schema of "${taskName}" threw instead of answering: ${messageOf(cause)}`,
      { cause, details: { threw: true } },
    );
  }
  if (issues === null) return value;
  const named = issues.slice(0, NAMED).map(({ path, message }) => `${path}: ${message}`);
  const more = issues.length > NAMED ? `; and ${issues.length - NAMED} more` : '';
  throw new RecoveryError(
    'INPUT_INVALID',
    `The input of "${taskName}" does not fit its schema: ${named.join('; ')}${more}.`,
    { details: { issues } },
  );
}
