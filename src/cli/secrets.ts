/** Passwords of URLs, kept out of all that is printed. */

/** The part of a URL before its host, as far as an `@` reaches: a password may hold slashes where it must not. */
// Schemes are short: without a bound, a long text of letters would be looked through from each of them on.
const USER_INFO = /([a-z][a-z\d+.-]{0,20}:\/\/)[^\s'"]*@/gi;
/** A password in a URL as it should be. */
const PASSWORD = /([a-z][a-z\d+.-]{0,20}:\/\/[^\s/@:]*:)[^\s/@]+@/gi;

/** Remembers what must not be printed. */
export class Secrets {
  readonly #texts = new Set<string>();

  add(text: string): void {
    if (text !== '') this.#texts.add(text);
  }

  /** A message without them, and without the user and password of anything like a URL in it. */
  hide(message: string): string {
    let hidden = message.replaceAll(USER_INFO, '$1***@');
    // Longest first: one may be a part of another.
    for (const secret of [...this.#texts].toSorted((a, b) => b.length - a.length))
      hidden = hidden.replaceAll(secret, '***');
    return hidden;
  }
}

/** Data of the storage without passwords of URLs; what is like one but has none stays as it is. */
export function withoutPasswords(text: string): string {
  if (!text.includes('://')) return text;
  return text.replaceAll(PASSWORD, '$1***@');
}
