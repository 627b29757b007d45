/**
 * A TCP proxy with faults on command, for the seam between a client and a server: replies that get lost,
 * sockets that stay open and silent, requests that arrive late. It forwards whole chunks as they come; a
 * caller that needs one request at a time sends one at a time.
 */
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';

/** A request that the proxy keeps back. */
interface HeldRequest {
  readonly bytes: Buffer;
  /** Sends it over a new connection to the server: the late duplicate. Resolves with the server's reply. */
  deliver(): Promise<Buffer>;
}

/** Faults are off until asked for; `heal()` turns them off again. */
export interface TcpProxy {
  readonly host: string;
  readonly port: number;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Forwards the next request that matches, swallows its reply and resets the client's socket. Resolves then. */
  dropNextReply(matches?: (request: Buffer) => boolean): Promise<void>;
  /** From now on requests reach the server, replies vanish, sockets stay open. */
  swallowReplies(): void;
  /** From now on neither requests nor replies pass, sockets stay open. */
  blackHole(): void;
  /** From now on connections are closed at once; those that exist are reset. */
  refuse(): void;
  /** Keeps the next request that matches instead of forwarding it; the client's socket stays open and silent. */
  holdNextRequest(matches?: (request: Buffer) => boolean): Promise<HeldRequest>;
  /** Resets all connections; new ones work. */
  resetAll(): void;
  /** Adds `ms` before each reply. */
  delayReplies(ms: number): void;
  /** Ends all faults; connections that were silenced are reset, so that clients reconnect. */
  heal(): void;
  close(): Promise<void>;
}

type Mode = 'pass' | 'swallow' | 'hole' | 'refuse';
interface Trap {
  readonly matches: (request: Buffer) => boolean;
  readonly spring: (pair: Pair, request: Buffer) => void;
}
interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** True once nothing may go back to the client of this pair. */
  mute: boolean;
  /** What to do instead with the next reply. */
  onReply: (() => void) | null;
}

function reset(pair: Pair): void {
  pair.client.resetAndDestroy();
  pair.server.destroy();
}

function sendAlone(target: { host: string; port: number }, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(target, () => socket.write(bytes));
    socket.once('error', reject);
    socket.once('data', (reply: Buffer) => {
      socket.destroy();
      resolve(reply);
    });
  });
}

class Proxy {
  readonly pairs: Set<Pair> = new Set();
  readonly traps: Trap[] = [];
  mode: Mode = 'pass';
  delayMs = 0;
  accepted = 0;
  readonly #target: { host: string; port: number };

  constructor(target: { host: string; port: number }) {
    this.#target = target;
  }

  accept(client: Socket): void {
    this.accepted += 1;
    if (this.mode === 'refuse') {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const server = connect(this.#target);
    client.setNoDelay(true);
    server.setNoDelay(true);
    const pair: Pair = { client, server, mute: false, onReply: null };
    this.pairs.add(pair);
    const end = (): void => {
      this.pairs.delete(pair);
      // A client that left while its request is held or unanswered: the server's side goes too.
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
    client.on('data', (bytes: Buffer) => this.#request(pair, bytes));
    server.on('data', (bytes: Buffer) => this.#reply(pair, bytes));
  }

  #request(pair: Pair, bytes: Buffer): void {
    if (this.mode === 'hole') return;
    const at = this.traps.findIndex((trap) => trap.matches(bytes));
    const trap = at < 0 ? undefined : this.traps.splice(at, 1)[0];
    if (trap === undefined) pair.server.write(bytes);
    else trap.spring(pair, bytes);
  }

  #reply(pair: Pair, bytes: Buffer): void {
    if (pair.onReply !== null) pair.onReply();
    else if (pair.mute || this.mode !== 'pass') return;
    else if (this.delayMs === 0) pair.client.write(bytes);
    else setTimeout(() => pair.client.writable && pair.client.write(bytes), this.delayMs);
  }
}

function faults(
  proxy: Proxy,
  target: { host: string; port: number },
): Omit<TcpProxy, 'host' | 'port' | 'accepted' | 'close'> {
  const always = (): boolean => true;
  const resetAll = (): void => {
    for (const pair of proxy.pairs) reset(pair);
  };
  return {
    dropNextReply: (matches = always) =>
      new Promise((resolve) => {
        proxy.traps.push({
          matches,
          spring(pair, bytes) {
            pair.onReply = () => {
              reset(pair);
              resolve();
            };
            pair.server.write(bytes);
          },
        });
      }),
    holdNextRequest: (matches = always) =>
      new Promise((resolve) => {
        proxy.traps.push({
          matches,
          spring(pair, bytes) {
            pair.mute = true;
            resolve({ bytes, deliver: () => sendAlone(target, bytes) });
          },
        });
      }),
    swallowReplies: () => void (proxy.mode = 'swallow'),
    blackHole: () => void (proxy.mode = 'hole'),
    refuse() {
      proxy.mode = 'refuse';
      resetAll();
    },
    resetAll,
    delayReplies: (ms) => void (proxy.delayMs = ms),
    heal() {
      const silenced = proxy.mode !== 'pass';
      proxy.mode = 'pass';
      proxy.delayMs = 0;
      proxy.traps.length = 0;
      for (const pair of proxy.pairs) if (silenced || pair.mute) reset(pair);
    },
  };
}

/** Starts a proxy on a free loopback port in front of `target`. */
export async function startProxy(target: { host?: string; port: number }): Promise<TcpProxy> {
  const host = '127.0.0.1';
  const to = { host: target.host ?? host, port: target.port };
  const proxy = new Proxy(to);
  const listener: Server = createServer((client) => proxy.accept(client));
  await new Promise<void>((resolve) => listener.listen(0, host, resolve));
  const address = listener.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const controls = faults(proxy, to);
  return {
    ...controls,
    host,
    port,
    get accepted() {
      return proxy.accepted;
    },
    async close() {
      controls.resetAll();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  };
}
