/** What is taken out of shown payloads where the user gives no function for it. */

const SECRET_KEY =
  /pass(?:word|wd|phrase|code)?$|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|authorization|cookie|credential/i;
const PASSWORD_IN_URL = /([a-z][\w+.-]*:\/\/[^\s:/@]*:)[^\s/]*@/gi;
const DEEPEST = 200;

/** Passwords of URLs are starred out. */
export function withoutPasswords(text: string): string {
  return text.replaceAll(PASSWORD_IN_URL, '$1***@');
}

/** Values under keys that sound secret, and passwords of URLs in texts. */
export function withoutSecrets(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return withoutPasswords(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > DEEPEST) return '***';
  if (Array.isArray(value)) return value.map((member: unknown) => withoutSecrets(member, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, member]: [string, unknown]) => [
      key,
      SECRET_KEY.test(key) ? '***' : withoutSecrets(member, depth + 1),
    ]),
  );
}
