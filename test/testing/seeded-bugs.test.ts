import { describe, expect, it } from 'vitest';
import { errorOf, explore } from './explore-lab.js';
import { SEEDED } from './seeded-bugs.js';

describe.each(SEEDED)('$bug', ({ buggy, fixed, names }) => {
  it('is found, and the place is named', async () => {
    const error = await errorOf(explore(buggy));
    expect(error.code).toBe('CRASH_UNSAFE');
    expect(error.message).toMatch(names);
    // The one run is enough to see it again.
    const { path } = error.details;
    if (path !== '') {
      const again = await errorOf(explore(buggy, { path: String(path) }));
      expect(again.message).toBe(error.message);
    }
  });

  it('is no alarm once it is mended', async () => {
    const report = await explore(fixed);
    expect(report).toMatchObject({ exhaustive: true, notes: [] });
  });
});
