/** Requests as bytes: what no client library would send. */
import { connect } from 'node:net';

export interface RawAnswer {
  /** Null when the server answered nothing. */
  readonly status: number | null;
  readonly headers: string;
  /** All that came. */
  readonly text: string;
}

/** Sends a request and reads its answer, to its end or to the end of a stream's headers. */
export function rawRequest(
  url: string,
  head: string,
  body: Uint8Array = new Uint8Array(),
): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    let text = '';
    const answer = (): void => {
      const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
      resolve({
        status: status === undefined ? null : Number(status),
        headers: text.split('\r\n\r\n')[0] ?? '',
        text,
      });
    };
    socket.setTimeout(5_000, () => {
      socket.destroy();
      reject(new Error(`no answer to ${JSON.stringify(head)}`));
    });
    socket.on('data', (chunk) => {
      text = (text + chunk.toString('latin1')).replace(/^HTTP\/1\.1 100 [^\r]*\r\n\r\n/, '');
      if (/^HTTP\/1\.1 200[^]*\r\ncontent-type: text\/event-stream[^]*\r\n\r\n/i.test(text)) socket.destroy();
    });
    // A body that nobody reads to its end can cost the connection; the answer came before.
    socket.on('error', answer);
    socket.on('close', answer);
    socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body]));
  });
}
