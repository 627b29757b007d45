import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkpointPlace,
  CheckpointStore,
  decodeCheckpoint,
  encodeCheckpoint,
  payloadOf,
} from '../../src/state/checkpoint-store.js';
import type { CheckpointText } from '../../src/state/checkpoint-store.js';
import { Draft } from '../../src/state/draft.js';
import { keys } from '../../src/state/keys.js';
import { LiveTask } from '../../src/state/live-task.js';
import { Payloads } from '../../src/state/payloads.js';
import { makeToken } from '../../src/state/token.js';
import { createBatch } from '../../src/state/transitions.js';
import { plainStore } from './manual-storage.js';
import { placeCodec } from './place-codec.js';
import { newTask } from './task-in-memory.js';

const OWNER = { owner: 'w', leaseMs: 1_000, fence: 1, nonce: 'n', notAfter: Number.MAX_SAFE_INTEGER };
const HOME = 'test:0';
const PLAIN = new Payloads(null, 'ns');
/** A codec that writes the place beside the text, and refuses another one. */
const SEALING = new Payloads(placeCodec, 'ns');

/** A task in a memory storage, written to without a queue. */
async function taskWith(count: number, version = '1') {
  const { store, storage, clock } = plainStore();
  await storage.commit(HOME, [createBatch(newTask({ version }), OWNER)]);
  const live = new LiveTask({
    taskId: 't',
    name: 'n',
    priority: 0,
    attempt: 1,
    recovered: false,
    owner: 'w',
    leaseMs: 1_000,
    startedMs: 0,
    eventSeq: 1,
    checkpointSeq: 0,
    hasAutomatic: false,
    traced: false,
    failed: null,
  });
  let sequence = 0;
  const write = async (change: (draft: Draft) => void): Promise<void> => {
    const draft = new Draft();
    change(draft);
    const guard = {
      key: keys.head('t'),
      expect: makeToken(1, 'n', sequence),
      next: makeToken(1, 'n', sequence + 1),
    };
    sequence += 1;
    const { outcomes } = await storage.commit(HOME, [draft.batch(guard, [])]);
    expect(outcomes[0]?.status).toBe('applied');
  };
  const checkpoint = (name: string): Promise<void> =>
    write((draft) => live.checkpoint(draft, textOf(name, live.nextCheckpointSeq()), null));
  for (let seq = 1; seq <= count; seq += 1) await checkpoint(`c${seq}`);
  const spoil = (seq: number, data: string): Promise<void> =>
    write((draft) => draft.set(keys.checkpoint('t', seq), { data }));
  return { checkpoints: new CheckpointStore(store), live, write, checkpoint, spoil, clock };
}

function textOf(name: string, seq: number): CheckpointText {
  return {
    name,
    seq,
    progressPercent: seq,
    stepDescription: null,
    dataText: JSON.stringify({ seq }),
    stateText: 'null',
    createdAtMs: seq * 10,
    version: '1',
  };
}

const namesOf = (list: readonly { name: string | null }[]): (string | null)[] => list.map(({ name }) => name);

describe('records of checkpoints', () => {
  const anyText = fc.record({
    name: fc.string({ minLength: 1 }),
    seq: fc.nat(),
    progressPercent: fc.double({ min: 0, max: 100, noNaN: true }).map((percent) => percent + 0),
    stepDescription: fc.option(fc.string()),
    dataText: fc.json(),
    stateText: fc.json(),
    createdAtMs: fc.nat(),
    version: fc.oneof(fc.constant('1'), fc.string({ minLength: 1 })),
  });

  function recordOf(checkpoint: CheckpointText, sealed: string | null = null): Map<string, string> {
    return new Map(
      Object.entries(encodeCheckpoint(checkpoint, sealed)).map(([name, value]) => [
        name,
        typeof value === 'string' ? value : '?',
      ]),
    );
  }

  it('property: come back as they were', () => {
    fc.assert(
      fc.property(anyText, (given) => {
        const { dataText, stateText, ...rest } = given;
        expect(decodeCheckpoint('t', given.seq, recordOf(given), PLAIN)).toEqual({
          ...rest,
          automatic: false,
          recoverableData: JSON.parse(dataText),
          databaseState: JSON.parse(stateText),
        });
      }),
    );
  });

  it('property: a change of any character is noticed', () => {
    fc.assert(
      fc.property(anyText, fc.nat(), fc.string({ minLength: 1, maxLength: 1 }), (given, place, character) => {
        const text = recordOf(given).get('data') ?? '';
        const at = place % text.length;
        const changed = text.slice(0, at) + character + text.slice(at + 1);
        fc.pre(changed !== text);
        expect(() => decodeCheckpoint('t', given.seq, new Map([['data', changed]]), PLAIN)).toThrow(
          expect.objectContaining({ code: 'CORRUPT_RECORD' }),
        );
      }),
    );
  });

  it('one of another number, or none, does not count', () => {
    const record = recordOf(textOf('a', 2));
    expect(() => decodeCheckpoint('t', 7, record, PLAIN)).toThrow(
      expect.objectContaining({ code: 'CORRUPT_RECORD' }),
    );
    expect(() => decodeCheckpoint('t', 2, null, PLAIN)).toThrow(
      expect.objectContaining({ code: 'CORRUPT_RECORD' }),
    );
  });

  it('without a version it is of the first one, which costs nothing', () => {
    const first = recordOf(textOf('a', 2));
    expect(first.get('data')).not.toContain('version');
    expect(decodeCheckpoint('t', 2, first, PLAIN).version).toBe('1');
  });

  const seal = (given: CheckpointText, taskId = 't'): string =>
    SEALING.seal(`{${payloadOf(given)}}`, taskId, checkpointPlace(given.seq));

  it('property: sealed ones come back through their codec, and show nothing of their data without it', () => {
    fc.assert(
      fc.property(anyText, fc.uuid(), (given, secret) => {
        const hidden = { ...given, dataText: JSON.stringify(secret), stateText: JSON.stringify([secret]) };
        const record = recordOf(hidden, seal(hidden));
        expect(decodeCheckpoint('t', given.seq, record, SEALING)).toMatchObject({
          name: given.name,
          version: given.version,
          recoverableData: secret,
          databaseState: [secret],
        });
        expect(record.get('data')).not.toContain(secret);
        expect(() => decodeCheckpoint('t', given.seq, record, PLAIN)).toThrow(
          expect.objectContaining({ code: 'CODEC_FAILED' }),
        );
      }),
    );
  });

  it('property: a sealed one opens under its own number and task only', () => {
    fc.assert(
      fc.property(anyText, fc.nat(), fc.string({ minLength: 1 }), (given, seq, taskId) => {
        const same = seq === given.seq && taskId === 't';
        const record = recordOf({ ...given, seq }, seal(given));
        const read = (): unknown => decodeCheckpoint(taskId, seq, record, SEALING);
        if (same) expect(read).not.toThrow();
        else expect(read).toThrow(expect.objectContaining({ code: 'CODEC_FAILED' }));
      }),
    );
  });
});

describe('CheckpointStore', () => {
  it('knows nothing of a task that does not exist', async () => {
    const { checkpoints } = await taskWith(0);
    await expect(checkpoints.latest('other')).resolves.toBeNull();
    await expect(checkpoints.list('other')).resolves.toEqual([]);
    await expect(checkpoints.latest('t')).resolves.toBeNull();
    await expect(checkpoints.latest('a{b')).rejects.toMatchObject({ code: 'INVALID_ID' });
  });

  it.each([
    [3, ['c3', 'c2', 'c1']],
    [5, ['c5', 'c4', 'c3', 'c2', 'c1']],
    [8, ['c8', 'c7', 'c6', 'c5', 'c4']],
  ])('keeps the newest five of %i, newest first', async (count, names) => {
    const { checkpoints } = await taskWith(count);
    const list = await checkpoints.list('t');
    expect(namesOf(list)).toEqual(names);
    expect(list[0]).toMatchObject({ seq: count, recoverableData: { seq: count }, createdAtMs: count * 10 });
    expect(await checkpoints.latest('t')).toEqual(list[0]);
  });

  it('uses the one before a corrupt newest one, and leaves that out of the list', async () => {
    const { checkpoints, spoil } = await taskWith(7);
    await spoil(7, '1 {"seq":7}');
    expect((await checkpoints.latest('t'))?.name).toBe('c6');
    expect(namesOf(await checkpoints.list('t'))).toEqual(['c6', 'c5', 'c4', 'c3']);
    for (const seq of [6, 5, 4, 3]) await spoil(seq, '');
    await expect(checkpoints.latest('t')).resolves.toBeNull();
  });

  it('an automatic mark is the newest, and carries the data of the newest explicit one', async () => {
    const { checkpoints, live, write } = await taskWith(2);
    await write((draft) => live.automaticCheckpoint(draft, 60, 'step six', 99));
    expect(await checkpoints.latest('t')).toEqual({
      name: null,
      seq: 2,
      automatic: true,
      progressPercent: 60,
      stepDescription: 'step six',
      recoverableData: { seq: 2 },
      databaseState: null,
      createdAtMs: 99,
      version: '1',
    });
    expect(namesOf(await checkpoints.list('t'))).toEqual(['c2', 'c1']);
  });

  it('an explicit checkpoint takes the place of an automatic mark', async () => {
    const { checkpoints, live, write, checkpoint } = await taskWith(1);
    await write((draft) => live.automaticCheckpoint(draft, 60, null, 99));
    await checkpoint('after');
    expect(await checkpoints.latest('t')).toMatchObject({ name: 'after', automatic: false });
  });

  it('an automatic mark without an explicit one has no data, and the version of its task', async () => {
    const { checkpoints, live, write } = await taskWith(0, '7');
    await write((draft) => live.automaticCheckpoint(draft, 30, null, 5));
    expect(await checkpoints.latest('t')).toMatchObject({
      seq: 0,
      automatic: true,
      recoverableData: null,
      version: '7',
    });
  });

  it('an automatic mark has the version of the data that it carries', async () => {
    const { checkpoints, live, write } = await taskWith(1, '7');
    await write((draft) => live.automaticCheckpoint(draft, 30, null, 5));
    expect(await checkpoints.latest('t')).toMatchObject({ automatic: true, version: '1' });
  });

  it('what its codec does not open is an error, not corrupt: nothing older is used instead', async () => {
    const { checkpoints, live, write } = await taskWith(1);
    const text = textOf('hidden', live.nextCheckpointSeq());
    await write((draft) => live.checkpoint(draft, text, '~whatever'));
    await expect(checkpoints.latest('t')).rejects.toMatchObject({ code: 'CODEC_FAILED' });
    await expect(checkpoints.list('t')).rejects.toMatchObject({ code: 'CODEC_FAILED' });
  });

  it('a clean restart voids what was there', async () => {
    const { checkpoints, live, write, checkpoint } = await taskWith(3);
    await write((draft) => live.automaticCheckpoint(draft, 30, null, 5));
    await write((draft) => live.restart(draft, 3));
    await expect(checkpoints.latest('t')).resolves.toBeNull();
    await expect(checkpoints.list('t')).resolves.toEqual([]);
    await checkpoint('anew');
    expect(namesOf(await checkpoints.list('t'))).toEqual(['anew']);
  });
});
