import { RecoveryError } from '../errors.js';

/** Says what is wrong with a value, or null when nothing is. */
export type Check = (value: unknown) => string | null;

/** A check for each known option. An option without one is unknown, and refused. */
export type OptionChecks = Readonly<Record<string, Check>>;

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const isText: Check = (value) => (typeof value === 'string' ? null : 'must be a text');

export function textUpTo(max: number): Check {
  return (value) =>
    typeof value === 'string' && value.length <= max ? null : `must be a text of at most ${max} characters`;
}

export const isBoolean: Check = (value) => (typeof value === 'boolean' ? null : 'must be true or false');

/** A number between two bounds, whole unless said otherwise. */
export function number(min: number, max: number, whole = true): Check {
  return (value) =>
    typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value))
      ? null
      : `must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}`;
}

export function oneOf(...allowed: readonly string[]): Check {
  return (value) =>
    typeof value === 'string' && allowed.includes(value)
      ? null
      : `must be one of ${allowed.map((name) => `'${name}'`).join(', ')}`;
}

export const isFunction: Check = (value) => (typeof value === 'function' ? null : 'must be a function');

/** An object that has these methods. */
export function hasMethods(...names: readonly string[]): Check {
  return (value) =>
    typeof value === 'object' &&
    value !== null &&
    names.every((name) => typeof Reflect.get(value, name) === 'function')
      ? null
      : `must be an object with ${names.join('(), ')}()`;
}

export function listOf(check: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return 'must be a list';
    for (const [index, member] of value.entries()) {
      const problem = check(member);
      if (problem !== null) return `[${index}] ${problem}`;
    }
    return null;
  };
}

/**
 * Refuses unknown and ill-typed options, all of them in one message. An option that is `undefined` counts as absent.
 * @throws `INVALID_OPTION`
 */
export function checkOptions(
  where: string,
  given: unknown,
  checks: OptionChecks,
  required: readonly string[],
): void {
  const problems: string[] = [];
  const unknown: string[] = [];
  if (!isObject(given)) problems.push('the options must be an object');
  const options = isObject(given) ? given : {};
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) unknown.push(`"${name}"`);
    else if (value !== undefined) {
      const problem = check(value);
      if (problem !== null) problems.push(`"${name}" ${problem}`);
    }
  }
  if (unknown.length > 0) {
    const what = unknown.length === 1 ? 'is no option' : 'are no options';
    problems.push(`${unknown.join(', ')} ${what} (known: ${Object.keys(checks).join(', ')})`);
  }
  for (const name of required) {
    if (options[name] === undefined) problems.push(`"${name}" is required`);
  }
  if (problems.length > 0) throw new RecoveryError('INVALID_OPTION', `${where}: ${problems.join('; ')}.`);
}

/**
 * As {@link checkOptions}, for what chooses among things to act on: a part that is there and `undefined` is a mistake of
 * whoever looked it up, and would choose everything.
 * @throws `INVALID_OPTION`
 */
export function checkFilter(where: string, given: unknown, checks: OptionChecks): void {
  checkOptions(where, given, checks, []);
  const [missing] = Object.entries(given ?? {}).find(([, value]) => value === undefined) ?? [];
  if (missing === undefined) return;
  throw new RecoveryError(
    'INVALID_OPTION',
    `${where}: "${missing}" is undefined. Leave it out to choose among all; found nothing to choose by, don't call.`,
  );
}
