/**
 * Keeps the leases of this process alive, and fences it off when it can't.
 *
 * The beat runs from the send time of the last acknowledged renewal: a third of the lease later the next one is due,
 * unless a commit has brought it along. A whole lease later the holder must take it that somebody else has the task:
 * it is fenced off at that moment, by a timer set for it, whatever the storage is doing.
 */
import type { Clock } from '../clock.js';

/** Something with a lease. */
export interface LeaseHolder {
  /** Monotonic send time of the last acknowledged renewal, in ms. */
  readonly renewedMs: number;
  renew(): void;
  /** The lease is over as far as this process can tell. */
  expired(): void;
  /** Called at each beat. */
  beat?(nowMs: number): void;
}

export class LeaseKeeper {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #onLag: (lagMs: number) => void;
  readonly #holders = new Set<LeaseHolder>();
  #cancel: (() => void) | null = null;
  #dueMs = 0;

  constructor(clock: Clock, leaseMs: number, onLag: (lagMs: number) => void) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.#onLag = onLag;
  }

  add(holder: LeaseHolder): void {
    this.#holders.add(holder);
    // A claim may have taken most of its lease to be answered.
    const nowMs = this.#clock.monotonicMs();
    const delayMs = Math.max(0, Math.min(this.#leaseMs / 6, holder.renewedMs + this.#leaseMs - nowMs));
    if (this.#cancel !== null && this.#dueMs <= nowMs + delayMs) return;
    this.#cancel?.();
    this.#arm(delayMs);
  }

  delete(holder: LeaseHolder): void {
    this.#holders.delete(holder);
    if (this.#holders.size > 0 || this.#cancel === null) return;
    this.#cancel();
    this.#cancel = null;
  }

  #arm(delayMs: number): void {
    this.#dueMs = this.#clock.monotonicMs() + delayMs;
    this.#cancel = this.#clock.schedule(delayMs, () => this.#beat());
  }

  #beat(): void {
    const nowMs = this.#clock.monotonicMs();
    const lagMs = nowMs - this.#dueMs;
    this.#cancel = null;
    if (lagMs > this.#leaseMs / 3) this.#onLag(lagMs);
    let nextMs = this.#leaseMs / 6;
    for (const holder of this.#holders) {
      const ageMs = nowMs - holder.renewedMs;
      if (ageMs >= this.#leaseMs) {
        holder.expired();
        continue;
      }
      if (ageMs >= this.#leaseMs / 3) holder.renew();
      holder.beat?.(nowMs);
      nextMs = Math.min(nextMs, this.#leaseMs - ageMs);
    }
    if (this.#holders.size > 0 && this.#cancel === null) this.#arm(nextMs);
  }
}
