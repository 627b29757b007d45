import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SqliteStorageOptions } from '../../src/storage/sqlite.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';
import type { Batch, Storage } from '../../src/storage/storage.js';

const created = (key: string, parts: Partial<Batch> = {}): Batch => ({
  guard: { key, expect: null, next: 't1' },
  notAfter: 4_102_444_800_000,
  ...parts,
});

let folder = '';
let opened: Storage[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rekindle-sqlite-'));
});
afterEach(async () => {
  for (const storage of opened) await storage.close();
  opened = [];
  rmSync(folder, { recursive: true, force: true });
});

function open(options: SqliteStorageOptions = {}, path: string = join(folder, 'a.db')): Storage {
  const storage = sqliteStorage(path, options);
  opened.push(storage);
  return storage;
}

describe('contents', () => {
  test('awkward texts come back as they went in', async () => {
    const awkward: Record<string, string> = {
      empty: '',
      nul: '\0',
      nulInside: 'a\0b\0',
      bom: '\uFEFFx',
      emoji: '😀 é ﷽ \u{10FFFF}',
      number: '00012.50',
      json: '{"__proto__":1}',
      ['__proto__']: 'own',
      large: 'é'.repeat(1_500_000),
    };
    const names = Object.keys(awkward);
    const storage = open();
    const { outcomes } = await storage.commit('p\u{1F600}', [
      created('k', { set: [{ key: 'k', fields: awkward }], append: [awkward], observe: ['k'] }),
      created('lone', { set: [{ key: 'lone', fields: { x: '\ud800' } }] }),
    ]);
    expect(outcomes).toMatchObject([{ status: 'applied' }, { status: 'refused', code: 'NOT_WELL_FORMED' }]);
    const { records } = await storage.read('p\u{1F600}', ['k', 'k\0', '\ud800'], names);
    const { events } = await storage.events('p\u{1F600}', { after: null, limit: 9 });
    for (const found of [records[0], events[0]?.fields]) {
      for (const name of names) expect(found?.get(name) === awkward[name], name).toBe(true);
    }
    expect(records.slice(1)).toEqual([null, null]);
  });

  test('many keys in one read and one commit', async () => {
    const storage = open();
    const keys = Array.from({ length: 700 }, (_, at) => `k${at}`);
    await storage.commit(
      'p',
      keys.map((key) => created(key)),
    );
    const { records } = await storage.read('p', [...keys, 'none'], ['token', 'other']);
    expect(records.filter((record) => record?.get('token') === 't1')).toHaveLength(700);
    expect(records.at(-1)).toBeNull();
  });

  test('the log is trimmed, and says so', async () => {
    const storage = open({ maxEvents: 50 });
    for (let at = 0; at < 20; at += 1) {
      await storage.commit('p', [
        created(`k${at}`, { append: Array.from({ length: 10 }, () => ({ x: '1' })) }),
      ]);
    }
    const all = await storage.events('p', { after: null, limit: 1000 });
    expect(all.truncated).toBe(false);
    expect(all.events.length).toBeGreaterThanOrEqual(50);
    expect(all.events.length).toBeLessThanOrEqual(55);
    expect(all.events.at(-1)?.cursor).toBe('200');
    expect(await storage.events('p', { after: '200', limit: 5 })).toEqual({ events: [], truncated: false });
    expect(await storage.events('p', { after: '3', limit: 1000 })).toEqual({ ...all, truncated: true });
    expect((await storage.events('p', { after: '999', limit: 5 })).truncated).toBe(true);
  });

  test('inspect tells what an acknowledged write survives', async () => {
    const safe = await open().inspect?.();
    expect(safe).toMatchObject({ durability: expect.stringContaining('power cut'), warnings: [] });
    const normal = await open({ synchronous: 'NORMAL' }).inspect?.();
    expect(normal?.warnings).toEqual([expect.stringContaining('synchronous is NORMAL')]);
    const memory = await open({}, ':memory:').inspect?.();
    expect(memory?.warnings).toEqual([expect.stringContaining('"memory"')]);
  });
});
