import { describe, expect, test } from 'vitest';
import { withoutPasswords, withoutSecrets } from '../../../src/integrations/http/redact-secrets.js';
import { bodyOf, emptyBody, queryOf, tasksQuery } from '../../../src/integrations/http/requests.js';

describe('keys that sound secret', () => {
  const secret = [
    'password',
    'passwd',
    'passphrase',
    'password1',
    'password_hash',
    'passwordHash',
    'userPassword',
    'PASSWORD',
    'pass',
    'dbPass',
    'pass_word',
    'pwd',
    'PWD2',
    'auth',
    'basicAuth',
    'x-auth',
    'AUTH_HEADER',
    'pin',
    'cardPin',
    'pin_code',
    'pinCode',
    'PIN1',
    'clientSecret',
    'accessToken',
    'Bearer',
    'apiKey',
    'x-api_key',
    'APIKEY',
    'aws_access_key',
    'privateKey',
    'Authorization',
    'set-cookie',
    'credentials',
  ];
  test.each(secret)('%s', (key) => {
    expect(withoutSecrets({ [key]: 'S', deep: [{ [key]: { a: 'S' } }] })).toEqual({
      [key]: '***',
      deep: [{ [key]: '***' }],
    });
  });

  test.each([
    'author',
    'authority',
    'spin',
    'pinned',
    'shipping',
    'mapping',
    'passed',
    'pages',
    'key',
    'compression',
  ])('not %s', (key) => {
    expect(withoutSecrets({ [key]: 'seen' })).toEqual({ [key]: 'seen' });
  });
});

describe('passwords of URLs', () => {
  const cases: [string, string][] = [
    ['redis://me:pw@host/1', 'redis://me:***@host/1'],
    ['redis://:pw@host', 'redis://:***@host'],
    ['redis://u:sec/ret@host', 'redis://u:***@host'],
    ['redis://u:/?#[]@host', 'redis://u:***@host'],
    ['postgres://u:p@w@host/db', 'postgres://u:***@host/db'],
    ['a redis://u:p@h, b+c.d://v:q@h', 'a redis://u:***@h, b+c.d://v:***@h'],
    ['redis://u:p@h,redis://v:q@h2', 'redis://u:***@h,redis://v:***@h2'],
    [`${'x'.repeat(50)}://u:p@h`, `${'x'.repeat(50)}://u:***@h`],
    ['http://host:80/path and a@b', 'http://host:80/path and a@b'],
    ['http://user@host/path', 'http://user@host/path'],
    ['://', '://'],
    ['', ''],
    ['no URL: a:b@c', 'no URL: a:b@c'],
  ];
  test.each(cases)('%s', (text, shown) => {
    expect(withoutPasswords(text)).toBe(shown);
  });
});

describe('a text that is four times as long does not take sixteen times as long', () => {
  const repeated = (unit: string) => (size: number) => unit.repeat(Math.ceil(size / unit.length));
  const texts: [string, (size: number) => string][] = [
    'ab',
    'A0',
    'a.',
    '://',
    'a://',
    'a://b:',
    'a://b:c/',
    ':@/',
    '://:',
    '_pin',
    'aA',
  ].map((unit) => [unit, repeated(unit)]);
  texts.push(['://a and then a', (size) => `://a${repeated('a')(size)}`]);
  texts.push(['://a: and then b', (size) => `://a:${repeated('b')(size)}`]);

  /** The fastest of a few runs, in ms; never less than what a clock and a collection may cost. */
  async function costOf(work: () => unknown): Promise<number> {
    let best = Number.POSITIVE_INFINITY;
    for (let run = 0; run < 5; run += 1) {
      const startedMs = performance.now();
      await work();
      best = Math.min(best, performance.now() - startedMs);
    }
    return Math.max(best, 5);
  }

  async function grows(work: (size: number) => unknown): Promise<number> {
    const small = await costOf(() => work(8_192));
    return (await costOf(() => work(32_768))) / small;
  }

  test.each(texts)('in a payload or a message: %s', async (_name, make) => {
    expect(await grows((size) => withoutSecrets({ [make(size)]: make(size) }))).toBeLessThan(9);
  });

  const types = [' ', '; charset=utf-8', ';', ';charset=utf-8 ', '; charset = "'];
  test.each(types)('in a content-type: %j', async (unit) => {
    const work = async (size: number): Promise<void> => {
      const headers = { 'content-type': `application/json${repeated(unit)(size)}x` };
      const request = new Request('http://a/', { method: 'POST', headers, body: '{}' });
      await expect(bodyOf(request, 10, emptyBody)).rejects.toMatchObject({ status: 415 });
    };
    expect(await grows(work)).toBeLessThan(9);
  });

  test.each(['1', '1.', '0', 'e'])('in a query: %j', async (unit) => {
    const work = (size: number): void => {
      const query = new URLSearchParams({ limit: repeated(unit)(size) });
      expect(() => queryOf(query, tasksQuery)).toThrow('limit');
    };
    expect(await grows(work)).toBeLessThan(9);
  });
});
