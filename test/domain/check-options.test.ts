import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkOptions,
  hasMethods,
  isFunction,
  listOf,
  number,
  oneOf,
} from '../../src/domain/check-options.js';
import { messageOf } from '../../src/errors.js';

const CHECKS = { count: number(1, 10), ratio: number(0, 1, false), mode: oneOf('on', 'off'), fn: isFunction };

function complaint(given: unknown, required: readonly string[] = []): string {
  try {
    checkOptions('the thing', given, CHECKS, required);
    return '';
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_OPTION' });
    return messageOf(error);
  }
}

describe('checkOptions', () => {
  it('tells all problems in one message', () => {
    const message = complaint({ count: 0, ratio: 2, mode: 'maybe', what: 1, fn: 'x' }, ['needed']);
    expect(message).toMatch(/^the thing: /);
    for (const part of [
      '"count" must be a whole number from 1 to 10',
      '"ratio" must be a number from 0 to 1',
      `"mode" must be one of 'on', 'off'`,
      '"what" is no option (known: count, ratio, mode, fn)',
      '"fn" must be a function',
      '"needed" is required',
    ]) {
      expect(message).toContain(part);
    }
  });

  it('takes undefined as absent, also for a required one', () => {
    expect(complaint({ count: undefined })).toBe('');
    expect(complaint({ count: undefined }, ['count'])).toContain('"count" is required');
  });

  it.each(['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf'])(
    'refuses "%s", a name that Object.prototype knows',
    (name) => {
      const given: unknown = JSON.parse(`{${JSON.stringify(name)}: 1}`);
      expect(complaint(given)).toContain(`"${name}" is no option`);
    },
  );

  it.each([[null], [undefined], [[]], ['text'], [5], [() => ({})]])('refuses %j for the options', (given) => {
    expect(complaint(given)).toContain('the options must be an object');
  });

  it('property: a known name with a good value passes, and nothing else does', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.nat(12)), (given) => {
        const good = Object.entries(given).every(
          ([name, value]) =>
            (name === 'count' && value >= 1 && value <= 10) || (name === 'ratio' && value <= 1),
        );
        expect(complaint(given) === '').toBe(good);
      }),
    );
  });
});

describe('checks', () => {
  it('number', () => {
    expect(number(1, 3)(2)).toBeNull();
    for (const bad of [0, 4, 1.5, Number.NaN, '2', null])
      expect(number(1, 3)(bad)).toMatch(/whole number from 1 to 3/);
    expect(number(0, 1, false)(0.5)).toBeNull();
    expect(number(0, Infinity, false)(Number.NaN)).not.toBeNull();
  });

  it('hasMethods sees inherited ones', () => {
    class Thing {
      go(): void {}
    }
    expect(hasMethods('go')(new Thing())).toBeNull();
    expect(hasMethods('go', 'stop')({ go: 1 })).toBe('must be an object with go(), stop()');
    expect(hasMethods('go')(null)).not.toBeNull();
  });

  it('listOf names the place', () => {
    expect(listOf(isFunction)([() => 1])).toBeNull();
    expect(listOf(isFunction)([() => 1, 2])).toBe('[1] must be a function');
    expect(listOf(isFunction)('no')).toBe('must be a list');
  });
});
