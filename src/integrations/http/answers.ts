/** Answers as they leave: JSON, with the same headers on all of them. */

const COMMON: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

/** An answer of text. */
export function textAnswer(
  text: string,
  type: string,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const body = new TextEncoder().encode(text);
  return new Response(body, {
    status,
    headers: { ...COMMON, 'content-type': type, 'content-length': String(body.byteLength), ...headers },
  });
}

/** An answer of JSON. */
export function jsonAnswer(
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return textAnswer(`${JSON.stringify(value)}\n`, 'application/json; charset=utf-8', status, headers);
}

/** An answer that goes on. Proxies must neither gather nor change it. */
export function streamAnswer(body: ReadableStream<Uint8Array> | null, type: string): Response {
  const headers = {
    ...COMMON,
    'cache-control': 'no-store, no-transform',
    'content-type': type,
    'x-accel-buffering': 'no',
  };
  return new Response(body, { headers });
}

/** The same answer to HEAD. */
export function withoutBody({ status, headers, body }: Response): Response {
  body?.cancel().catch(() => {});
  return new Response(null, { status, headers });
}
