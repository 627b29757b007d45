import { describe, expect, it } from 'vitest';
import { Flights } from '../../src/runtime/flights.js';
import { settled } from '../support/manual-clock.js';
import { gate, trapUnhandledRejections } from './harness.js';

trapUnhandledRejections();

describe('Flights', () => {
  it('a won flight stays until its result is there', async () => {
    const flights = new Flights();
    const own = flights.open('t', 'n', '[]');
    const done = gate();
    own.won(done.passed.then(() => 5));
    await expect(own.flight.ready).resolves.toBe(true);
    expect([flights.has('t'), flights.get('t'), flights.size]).toEqual([true, own.flight, 1]);
    done.open();
    await expect(own.flight.result).resolves.toBe(5);
    await settled();
    expect([flights.has('t'), flights.size]).toEqual([false, 0]);
  });

  it('a lost one frees the id at once, a failed one tells those who wait', async () => {
    const flights = new Flights();
    const lost = flights.open('t', 'n', null);
    lost.lost();
    expect(flights.has('t')).toBe(false);
    await expect(lost.flight.ready).resolves.toBe(false);
    const failed = flights.open('t', 'n', null);
    failed.failed(new Error('no start'));
    expect(flights.has('t')).toBe(false);
    await expect(failed.flight.ready).rejects.toThrow('no start');
  });

  it('what it rejects with is never unhandled', async () => {
    const flights = new Flights();
    flights.open('a', 'n', null).failed(new Error('nobody listens'));
    flights.open('b', 'n', null).won(Promise.reject(new Error('nobody listens')));
    await settled();
    expect(flights.size).toBe(0);
  });

  it('landed() waits for all', async () => {
    const flights = new Flights();
    await flights.landed();
    const done = gate();
    const other = flights.open('a', 'n', null);
    flights.open('b', 'n', null).won(done.passed);
    let landed = false;
    void flights.landed().then(() => (landed = true));
    other.lost();
    await settled();
    expect(landed).toBe(false);
    done.open();
    await settled();
    expect(landed).toBe(true);
  });

  it('an end that comes late does not close a newer flight of the id', async () => {
    const flights = new Flights();
    const first = flights.open('t', 'n', null);
    first.lost();
    const second = flights.open('t', 'n', null);
    first.failed(new Error('late'));
    expect(flights.get('t')).toBe(second.flight);
    second.lost();
  });
});
