import { randomBytes, randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_NORMALIZED_LENGTH, normalizedMessage } from '../../src/domain/fingerprint.js';

describe('a normalised message', () => {
  it.each([
    ['a path in quotes', "open '/tmp/a b/c.csv'", "open '<path>'"],
    ['a path without', 'cannot read /tmp/a/b.csv: bad', 'cannot read <path>: bad'],
    ['a path with blanks', 'run C:\\Program Files\\nodejs\\node.exe now', 'run <path> now'],
    ['a network path', 'open \\\\nas\\in\\a.csv', 'open <path>'],
    ['relative paths', './a ../b/c src/d/e.ts:1:2 in.d/f.csv ~/g', '<path>'],
    ['what is no path', 'and/or I/O application/json @a/b', 'and/or I/O application/json @a/b'],
    ['a file URL', 'at file:///C:/a/b.js:1:2, then', 'at <path>, then'],
    ['a URL', 'GET https://me:pw@api.example.com:8443/u/42?x=1#y: no', 'GET https://api.example.com: no'],
    ['a numbered host', 'https://shard-12.example.com/a', 'https://shard-#.example.com'],
    ['a URL of an IP', 'redis://10.0.0.1:6379/0 http://[::1]:80/a', 'redis://# http://#'],
    ['a data URL', 'import data:text/javascript;base64,AAAA== failed', 'import data: failed'],
    ['IPs and ports', 'connect ECONNREFUSED 127.0.0.1:6379', 'connect ECONNREFUSED #'],
    ['IPv6', 'connect ECONNREFUSED ::1:6379', 'connect ECONNREFUSED #'],
    ['IPv6 in brackets', 'connect to [fe80::1%eth0]:80 failed', 'connect to # failed'],
    ['a name with a port', 'no answer of localhost:6379', 'no answer of localhost:#'],
    ['an address', 'mail to jane.doe+x@example.co.uk bounced', 'mail to <email> bounced'],
    ['numbers', 'row 12 of 1,234.5e3 and -7 or +8', 'row # of # and # or +#'],
    ['lists', 'ids 1, 2, 3; 4 | 5', 'ids #'],
    ['numbers in words', 'worker-3 job_42 utf8 user7', 'worker-# job_# utf# user#'],
    ['hex', 'at 0x7ffe12 commit 3fa85f6 error:0A00010B:', 'at # commit # error:#:'],
    ['a uuid', `job-${randomUUID()}_x`, 'job-#_x'],
    ['an object id', `id ${randomBytes(12).toString('hex')} gone`, 'id # gone'],
    ['a token', 'key eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-bm_F0 bad', 'key # bad'],
    ['a digest', 'hash rL0Y20zC+Fzt72VPzMSk2A/9Zw+/a1bQb2xkc3M0dGY= bad', 'hash # bad'],
    [
      'names of code',
      'getUserByIdFromDatabase is no convertBase64ToString',
      'getUserByIdFromDatabase is no convertBase#ToString',
    ],
    ['dates', 'on 2024-01-02, not 12/31/2024 at 10:15 PM', 'on #, not # at #'],
    ['a timestamp', 'since 2024-01-02T03:04:05.678Z it', 'since # it'],
    [
      'a long date',
      'until Tue Jan 02 2024 10:00:00 GMT+0100 (Central European Standard Time) it',
      'until # it',
    ],
    ['a header date', 'until Tue, 02 Jan 2024 10:00:00 GMT it', 'until # it'],
    ['durations', 'took 1.5 s, 300ms and 2 minutes', 'took # and #'],
    ['sizes', 'has 1.5 MiB over 300 kB or 12 bytes', 'has # over # or #'],
    [
      'a place in JSON',
      'in JSON at position 15 (line 1 column 16)',
      'in JSON at position # (line # column #)',
    ],
    [
      'a text that is no JSON',
      'Unexpected token \'h\', "he said "x" a"... is not valid JSON',
      'Unexpected token <text> is not valid JSON',
    ],
    [
      'HTML for JSON',
      'Unexpected token \'<\', "<!DOCTYPE "... is not valid JSON',
      "Unexpected token '<', <text> is not valid JSON",
    ],
    ['quoted names', 'no "users", \'a.b\' or `c$d`', 'no "users", \'a.b\' or `c$d`'],
    ['quoted sentences', 'User "Jane Doe" is gone', 'User <text> is gone'],
    ['long quoted texts', `User "${'abc.'.repeat(20)}" is gone`, 'User <text> is gone'],
    ['apostrophes', "can't read the user's file, isn't it", "can't read the user's file, isn't it"],
    [
      'a duplicate',
      "Duplicate entry 'jane' for key 'users.email'",
      "Duplicate entry <text> for key 'users.email'",
    ],
    ['what was received', "must be a number. Received 'abc'", 'must be a number. Received <text>'],
    ['bytes', '<Buffer de ad be ... 12 more bytes> is no image', '<text> is no image'],
    ['an error in an error', 'Failed("no space on /mnt/a: 28")', 'Failed("no space on <path>: #")'],
    ['a status', 'failed with status code 404', 'failed with status code 404'],
    ['a status of HTTP', 'HTTP/1.1 503 Service Unavailable', 'HTTP/# 503 Service Unavailable'],
    ['what is no status', 'status 40412', 'status #'],
    ['an exit code', 'exited with code 137', 'exited with code 137'],
    [
      'a stack of requires',
      "module 'x'\nRequire stack:\n- /a/b.js\n- /c/d.js",
      "module 'x' Require stack: - <path>",
    ],
    ['colours', '\u001b[31mbad\u001b[39m', 'bad'],
    ['whitespace', '  a \n\t b\r\n', 'a b'],
    ['case', 'ABC is not abc', 'ABC is not abc'],
    ['signs', '🙂 – é', '🙂 – é'],
    ['half a sign', 'a \ud83d b', 'a \ufffd b'],
    ['nothing', '', ''],
  ])('leaves of %s what is the reason', (_what, message, normalised) => {
    expect(normalizedMessage(message)).toBe(normalised);
  });

  it('is as short for a long text, and cut between two pieces', () => {
    const normalised = normalizedMessage(`${'word '.repeat(101)}report-${'x'.repeat(40)} and more`);
    expect(normalised).toBe('word '.repeat(101).trimEnd());
    expect(normalizedMessage('word '.repeat(10_000)).length).toBeLessThanOrEqual(MAX_NORMALIZED_LENGTH);
    expect(normalizedMessage('x'.repeat(10_000))).toBe('#');
  });

  const hostile = fc
    .array(
      fc.oneof(
        fc.constantFrom(...Array.from('\'"`/\\<>#@:.,;-_ +=()[]{}|%~?!\n\u001b\ud83d')),
        fc.constantFrom('<path>', '<text>', 'a', 'Z', '7', '0x', '://', 'file://', 'data:', 'C:\\', '...'),
        fc.constantFrom(
          'Unexpected token ',
          ' is not valid JSON',
          'dup key: {',
          'status ',
          'Received ',
          '("',
        ),
        fc.constantFrom('1 Jan 2024', '2024-01-02', ' ms', 'a@b.c', '::1', 'abcdef', 'Ab1', '404', ' - '),
      ),
      { maxLength: 40 },
    )
    .map((pieces) => pieces.join(''));
  const anyText = fc.oneof(hostile, fc.string({ unit: 'binary', maxLength: 200 }), fc.string());

  it('property: is not changed by doing it again, is bounded, and well formed', () => {
    const long = fc.tuple(anyText, fc.nat(200)).map(([text, times]) => text.repeat(times));
    fc.assert(
      fc.property(fc.oneof(anyText, long), (message) => {
        const normalised = normalizedMessage(message);
        expect(normalizedMessage(normalised)).toBe(normalised);
        expect(normalised.length).toBeLessThanOrEqual(MAX_NORMALIZED_LENGTH);
        expect(normalised.isWellFormed()).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });

  const folders = fc.array(fc.stringMatching(/^[A-Za-z0-9_.-]{1,12}$/), { minLength: 1, maxLength: 5 });
  const hex = fc
    .uint8Array({ minLength: 12, maxLength: 12 })
    .map((bytes) => Buffer.from(bytes).toString('hex'));
  it.each([
    ['a uuid', fc.uuid()],
    ['a whole number', fc.integer()],
    [
      'a fraction',
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }).map((n) => n.toFixed(3)),
    ],
    ['an object id', hex],
    [
      'a date',
      fc
        .date({ min: new Date(0), max: new Date('2999-01-01'), noInvalidDate: true })
        .map((date) => date.toISOString()),
    ],
    [
      'an IP and a port',
      fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })).map((parts) => parts.join(':')),
    ],
    [
      'a duration',
      fc
        .tuple(fc.nat(), fc.constantFrom('ms', ' ms', 's', ' seconds', 'm', 'h'))
        .map((parts) => parts.join('')),
    ],
    [
      'a size',
      fc.tuple(fc.nat(), fc.constantFrom(' bytes', 'kB', ' MiB', 'GB', ' B')).map((parts) => parts.join('')),
    ],
    ['a path', folders.map((parts) => `/${parts.join('/')}x`)],
    ['a Windows path', folders.map((parts) => `D:\\${parts.join('\\')}x`)],
    ['a file URL', folders.map((parts) => `file:///${parts.join('/')}x`)],
    ['a URL', folders.map((parts) => `https://example.com/${parts.join('/')}x?a=1`)],
  ] as const)(
    'property: is the same with %s for another one',
    (_what, values: fc.Arbitrary<string | number>) => {
      const frames: readonly ((value: string | number) => string)[] = [
        (value) => `Cannot find ${value} here`,
        (value) => `it failed (${value})`,
        (value) => `${value}: bad`,
        (value) => `bad '${value}', sorry`,
        (value) => `it ends in ${value}`,
      ];
      fc.assert(
        fc.property(values, values, fc.constantFrom(...frames), (one, other, frame) => {
          expect(normalizedMessage(frame(one))).toBe(normalizedMessage(frame(other)));
        }),
      );
    },
  );

  it.each([
    ['nanoid', 21, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-'],
    ['ULID', 26, '0123456789ABCDEFGHJKMNPQRSTVWXYZ'],
    ['base64url', 43, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-'],
    ['cuid', 25, '0123456789abcdefghijklmnopqrstuvwxyz'],
  ])('takes out at least 98 of 100 ids of %s', (_what, length, alphabet) => {
    const characters = fc.array(fc.constantFrom(...Array.from(alphabet)), {
      minLength: length,
      maxLength: length,
    });
    // Chance, not the corners that fast-check prefers.
    const id = fc.noBias(characters.map((parts) => parts.join('')));
    const found = fc
      .sample(id, { numRuns: 2_000, seed: 7 })
      .map((text) => normalizedMessage(`No ${text} here`));
    expect(found.filter((message) => message === 'No # here').length).toBeGreaterThan(1_960);
  });

  const pieces =
    'a|A1|/|/a|a/|a.|.|:|::|1:|1|-|#|"|\'|\'a |<|<path>|\\|a\\|a@|@|a://|https://a|[|{| a/|/a b|/a b/ |1 Jan |key: {|"message": "|Unexpected token |\u001b[|\ud800|a-|a_|1 s|..."|data:|aB3|=|a+|eyJaaaaaaaaa.'.split(
      '|',
    );
  it.each(pieces)('takes no long time for 1 MiB of %j', (piece) => {
    for (const [before, after] of [
      ['', ''],
      ['"', ''],
      ['/', '!'],
      ['1', 'x'],
    ] as const) {
      const text = before + piece.repeat(Math.ceil(2 ** 20 / piece.length)) + after;
      const start = performance.now();
      const normalised = normalizedMessage(text);
      expect(performance.now() - start).toBeLessThan(200);
      expect(normalised.length).toBeLessThanOrEqual(MAX_NORMALIZED_LENGTH);
    }
  });
});
