/** What is taken out of shown payloads where the user gives no function for it. */

/** Anywhere in a key. */
const SECRET_KEY =
  /passw|passphrase|passcode|pass$|pwd|secret|token|bearer|api[-_]?key|access[-_]?key|private[-_]?key|authorization|cookie|credential/;
/** As a word of a key: longer ones that hold them are too many (`author`, `spinner`). */
const SECRET_WORD = /(?:^|[^a-z])(?:auth|pass|pin|pin[-_]?code)(?:[^a-z]|$)/;
const DEEPEST = 200;

/** `userPin` has two words, as `user_pin` has. */
function isSecret(key: string): boolean {
  const words = key.replaceAll(/(?<=[a-z\d])(?=[A-Z])/g, '_').toLowerCase();
  return SECRET_KEY.test(words) || SECRET_WORD.test(words);
}

/** At the beginning of what stands behind `://`. Up to the last `@`: a password may hold any of the others unencoded. */
const PASSWORD = /^([^\s:/@]*:)\S*@/;

/** Passwords of URLs are starred out. Looks at each part once: texts may be long, and anybody's. */
export function withoutPasswords(text: string): string {
  const [start = '', ...rest] = text.split('://');
  return [start, ...rest.map((part) => part.replace(PASSWORD, '$1***@'))].join('://');
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
      isSecret(key) ? '***' : withoutSecrets(member, depth + 1),
    ]),
  );
}
