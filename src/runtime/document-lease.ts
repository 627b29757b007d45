/** The right to run periodic recovery of documents: one process of a namespace has it at a time. */
import { RecoveryError } from '../errors.js';
import type { Draft } from '../state/draft.js';
import { keys } from '../state/keys.js';
import { RecordWriter } from '../state/record-writer.js';
import { fenceOf, makeToken } from '../state/token.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import { applied } from './commits.js';
import type { Engine } from './engine.js';
import { notAfter } from './engine.js';
import type { LeaseHolder } from './lease-keeper.js';

export class DocumentLease implements LeaseHolder {
  readonly #engine: Engine;
  readonly #writer: RecordWriter;
  readonly #onLost: () => void;

  private constructor(
    engine: Engine,
    token: { fence: number; nonce: string; sentMs: number },
    onLost: () => void,
  ) {
    this.#engine = engine;
    this.#onLost = onLost;
    const { store, queue, clock, settings, leases } = engine;
    const { fence, nonce, sentMs: renewedMs } = token;
    const { leaseMs } = settings;
    this.#writer = new RecordWriter(
      { partition: store.home, key: keys.documentLease, fence, nonce, renewedMs, renewAfterMs: leaseMs / 3 },
      queue,
      {
        renew: (draft) => {
          draft.set(keys.documentLease, { until: { fromNow: leaseMs } });
          return [];
        },
        renewed: () => {},
        lost: () => this.#lost(),
      },
      clock,
    );
    leases.add(this);
  }

  /** The lease, or for how many ms another process has it at least. `onLost`: called once it is somebody else's. */
  static async acquire(engine: Engine, onLost: () => void): Promise<DocumentLease | number> {
    const { store, random, worker, clock, settings } = engine;
    const key = keys.documentLease;
    const { records, nowMs } = await store.read(store.home, [key]);
    const record = records[0] ?? null;
    const heldForMs = Number(record?.get('until') ?? 0) - nowMs;
    // Longer than a lease after the storage's clock went back: whoever has it may give it back before.
    if (heldForMs > 0) return Math.min(heldForMs, settings.leaseMs);
    const expect = record?.get(TOKEN_FIELD) ?? null;
    const fence = Math.max(nowMs, (expect === null ? 0 : (fenceOf(expect) ?? 0)) + 1);
    const nonce = random.nonce();
    const sentMs = clock.monotonicMs();
    const taken = await applied(engine, store.home, {
      guard: { key, expect, next: makeToken(fence, nonce, 0) },
      notAfter: notAfter(engine, store.home),
      set: [{ key, fields: { holder: worker.incarnation, until: { fromNow: settings.leaseMs } } }],
    });
    return taken ? new DocumentLease(engine, { fence, nonce, sentMs }, onLost) : settings.leaseMs;
  }

  get renewedMs(): number {
    return this.#writer.renewedMs;
  }

  renew(): void {
    this.#writer.renew();
  }

  expired(): void {
    this.#writer.kill(this.#lost());
  }

  /** Gives it back. */
  async release(): Promise<void> {
    this.#engine.leases.delete(this);
    if (this.#writer.abandoned) return;
    const free = (draft: Draft): void => draft.set(keys.documentLease, { until: '0' });
    await this.#writer.finish(free, () => undefined);
  }

  #lost(): RecoveryError {
    this.#engine.leases.delete(this);
    this.#onLost();
    return new RecoveryError('LEASE_LOST', 'Another process recovers documents now.', { retryable: true });
  }
}
