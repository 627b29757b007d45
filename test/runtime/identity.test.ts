import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isProvablyDead, ownIdentity, parseStat, systemProcessTable } from '../../src/runtime/identity.js';
import type { ProcessIdentity, ProcessTable } from '../../src/runtime/identity.js';

const statOf = (title: string, state: string, startTime: string): string =>
  `77 (${title}) ${state} ${'1 '.repeat(18)}${startTime} 0 0\n`;

const OWN: ProcessIdentity = {
  host: 'h',
  bootId: 'b',
  pidNamespace: 'p',
  timeNamespace: 't',
  pid: 50,
  startTime: '500',
};
const OTHER: ProcessIdentity = { ...OWN, pid: 77, startTime: '700' };

const table = (signal: 'gone' | 'exists', stat: string | null): ProcessTable => ({
  readText: () => stat,
  readLink: () => null,
  signal0: () => signal,
});

describe('parseStat', () => {
  it('property: finds state and start time behind any title', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom('R', 'S', 'Z'), fc.nat(), (title, state, start) => {
        expect(parseStat(statOf(title, state, String(start)))).toEqual({ state, startTime: String(start) });
      }),
    );
    expect(parseStat(statOf(') Z 1 1 (x', 'R', '9'))).toEqual({ state: 'R', startTime: '9' });
  });

  it.each([null, '', '77 (node) R', 'rubbish'])('gives nothing for %j', (text) => {
    expect(parseStat(text)).toBeNull();
  });
});

describe('isProvablyDead', () => {
  it.each<[string, ProcessTable, boolean]>([
    ['no such process', table('gone', null), true],
    ['the pid belongs to a younger process', table('exists', statOf('node', 'R', '900')), true],
    ['a zombie', table('exists', statOf('node', 'Z', '700')), true],
    ['being reaped', table('exists', statOf('node', 'X', '700')), true],
    ['alive', table('exists', statOf('node', 'S', '700')), false],
    ['stopped, not dead', table('exists', statOf('node', 'T', '700')), false],
    ['there, but nothing can be read', table('exists', null), false],
  ])('%s', (_what, processes, dead) => {
    expect(isProvablyDead(OTHER, OWN, processes)).toBe(dead);
  });

  it('property: proves nothing when a part is missing or another', () => {
    const part = fc.constantFrom('host', 'bootId', 'pidNamespace', 'timeNamespace', 'startTime', 'pid');
    fc.assert(
      fc.property(part, fc.boolean(), (name, both) => {
        const change = name === 'pid' ? { pid: both ? 0 : Number.NaN } : { [name]: '' };
        expect(isProvablyDead({ ...OTHER, ...change }, OWN, table('gone', null))).toBe(false);
        if (name === 'pid' || name === 'startTime') return;
        expect(isProvablyDead({ ...OTHER, ...change }, { ...OWN, ...change }, table('gone', null))).toBe(
          false,
        );
        expect(isProvablyDead({ ...OTHER, [name]: 'elsewhere' }, OWN, table('gone', null))).toBe(false);
      }),
    );
  });

  it('never proves that of its own process, whatever the table says', () => {
    expect(isProvablyDead({ ...OWN }, OWN, table('gone', null))).toBe(false);
  });

  it('this process, by the real table, is alive', () => {
    const own = ownIdentity(systemProcessTable);
    expect(own.pid).toBe(process.pid);
    expect(isProvablyDead(own, { ...own, pid: 1, startTime: '1' }, systemProcessTable)).toBe(false);
  });
});
