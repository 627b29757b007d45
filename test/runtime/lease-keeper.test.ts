import { beforeEach, describe, expect, it } from 'vitest';
import { LeaseKeeper } from '../../src/runtime/lease-keeper.js';
import type { LeaseHolder } from '../../src/runtime/lease-keeper.js';
import { ManualClock } from '../support/manual-clock.js';

const LEASE_MS = 900;

class Holder implements LeaseHolder {
  renewedMs = 0;
  answers = true;
  readonly renewals: number[] = [];
  readonly expirations: number[] = [];
  readonly #clock: ManualClock;
  onExpired: () => void = () => {};

  constructor(clock: ManualClock) {
    this.#clock = clock;
    this.renewedMs = clock.monotonicMs();
  }

  renew(): void {
    this.renewals.push(this.#clock.monotonicMs());
    if (this.answers) this.renewedMs = this.#clock.monotonicMs();
  }

  expired(): void {
    this.expirations.push(this.#clock.monotonicMs());
    this.onExpired();
  }
}

describe('LeaseKeeper', () => {
  let clock: ManualClock;
  let lags: number[];
  let keeper: LeaseKeeper;
  beforeEach(() => {
    clock = new ManualClock();
    lags = [];
    keeper = new LeaseKeeper(clock, LEASE_MS, (lagMs) => lags.push(lagMs));
  });

  it('renews when a third of the lease is gone since the last renewal', async () => {
    const holder = new Holder(clock);
    keeper.add(holder);
    await clock.advance(1_000);
    expect(holder.renewals).toEqual([300, 600, 900]);
    expect([holder.expirations, lags]).toEqual([[], []]);
  });

  it('leaves alone what a commit has renewed', async () => {
    const holder = new Holder(clock);
    keeper.add(holder);
    for (let step = 0; step < 10; step += 1) {
      await clock.advance(140);
      holder.renewedMs = clock.monotonicMs();
    }
    expect(holder.renewals).toEqual([]);
  });

  it('fences off exactly one lease after the last acknowledged renewal', async () => {
    const holder = new Holder(clock);
    holder.answers = false;
    holder.onExpired = () => keeper.delete(holder);
    keeper.add(holder);
    await clock.advance(LEASE_MS - 1);
    expect(holder.expirations).toEqual([]);
    await clock.advance(1);
    expect(holder.expirations).toEqual([LEASE_MS]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('one that is fenced off does not stop the beat of the others', async () => {
    const [dead, alive] = [new Holder(clock), new Holder(clock)];
    dead.answers = false;
    dead.onExpired = () => keeper.delete(dead);
    keeper.add(dead);
    keeper.add(alive);
    await clock.advance(5_000);
    expect(dead.expirations).toEqual([LEASE_MS]);
    expect(alive.renewals).toHaveLength(16);
  });

  it('tells of an event loop that was blocked, and takes the lease for over then', async () => {
    const holder = new Holder(clock);
    holder.onExpired = () => keeper.delete(holder);
    keeper.add(holder);
    await clock.freeze(2_000);
    expect(lags).toEqual([1_850]);
    expect(holder.expirations).toEqual([2_000]);
  });

  it('has no timer while it holds nothing', async () => {
    const holder = new Holder(clock);
    keeper.add(holder);
    keeper.delete(holder);
    expect(clock.pendingTimers).toBe(0);
    keeper.add(holder);
    await clock.advance(400);
    expect(holder.renewals).toHaveLength(1);
  });
});
