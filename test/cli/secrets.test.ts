import { expect, test } from 'vitest';
import { Secrets, withoutPasswords } from '../../src/cli/secrets.js';

test('what is remembered is hidden, longest first, and so is the user of anything like a URL', () => {
  const secrets = new Secrets();
  for (const text of ['', 'pass', 'password']) secrets.add(text);
  expect(secrets.hide('the password is pass')).toBe('the *** is ***');
  expect(secrets.hide('unknown command redis://u:p/a?ss@h/0')).toBe('unknown command redis://***@h/0');
  expect(secrets.hide('nothing')).toBe('nothing');
});

test('data keeps what is no password', () => {
  expect(withoutPasswords('redis://:pw@h and rediss://u:pw@h')).toBe('redis://:***@h and rediss://u:***@h');
  expect(withoutPasswords('https://u@h/x:y@z')).toBe('https://u@h/x:y@z');
});
