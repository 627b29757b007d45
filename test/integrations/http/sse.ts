/** A client of server-sent events, as a browser is one: lines, fields, an empty line. */
export interface Sent {
  readonly id: string | null;
  readonly event: string | null;
  readonly data: unknown;
}

export class EventClient {
  readonly response: Response;
  readonly comments: string[] = [];
  retryMs: number | null = null;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = '';

  constructor(response: Response) {
    this.response = response;
    this.#reader = response.body!.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  }

  /** The next event; null at the end of the stream. */
  async next(): Promise<Sent | null> {
    for (;;) {
      const block = await this.#block();
      if (block === null) return null;
      const fields = new Map<string, string>();
      for (const line of block.split('\n')) {
        const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
        if (name === '') this.comments.push(value);
        else fields.set(name, value);
      }
      if (fields.has('retry')) this.retryMs = Number(fields.get('retry'));
      const data = fields.get('data');
      if (data === undefined) return { id: null, event: null, data: null };
      return { id: fields.get('id') ?? null, event: fields.get('event') ?? null, data: JSON.parse(data) };
    }
  }

  /** The next so many that are events, not comments. */
  async take(count: number): Promise<Sent[]> {
    const taken: Sent[] = [];
    while (taken.length < count) {
      const sent = await this.next();
      if (sent === null) break;
      if (sent.event !== null) taken.push(sent);
    }
    return taken;
  }

  async close(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
  }

  async #block(): Promise<string | null> {
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end >= 0) {
        const block = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return block;
      }
      const { done, value } = await this.#reader.read();
      if (done) return null;
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }
}
