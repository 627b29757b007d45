/**
 * Tokens are `fence.nonce.sequence`. Only equality of the whole text decides about a write: after a restore from an
 * older snapshot the same fence number is issued again, and only the nonce tells the zombie.
 */
export function makeToken(fence: number, nonce: string, sequence: number): string {
  return `${fence}.${nonce}.${sequence}`;
}

/** The fence of a token, or null when the text is none. */
export function fenceOf(token: string): number | null {
  const dot = token.indexOf('.');
  const fence = Number(dot < 0 ? Number.NaN : token.slice(0, dot));
  return Number.isSafeInteger(fence) && fence > 0 ? fence : null;
}
