/**
 * Encryption at rest, and how a key is changed: make the new key known everywhere, then make it the current one, and
 * take the old one away when nothing is left that needs it.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aesGcmCodec, chainCodecs, createRecovery, gzipCodec, isRecoveryError } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'rekindle-codec-'));
const onDisk = () => readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'));

// In earnest these come from a secret store; never generate them at start, as here.
const old = randomBytes(32);
const fresh = randomBytes(32);

async function worker(codec, work) {
  const storage = sqliteStorage(join(folder, 'recovery.db'));
  const recovery = createRecovery({ storage, ...(codec === null ? {} : { codec }) });
  const summarise = recovery.withRecovery(async (ctx, { id, text }) => `${id}: ${text.slice(0, 20)}`, {
    name: 'summarise',
    taskId: ({ id }) => id,
  });
  try {
    return await work((id) => summarise({ id, text: 'the patient is allergic to penicillin' }), recovery);
  } finally {
    await recovery.shutdown();
  }
}

try {
  const before = aesGcmCodec({ keys: { a: old }, currentKeyId: 'a' });
  const expected = 'visit-1: the patient is aller';
  assert.equal(await worker(before, (call) => call('visit-1')), expected);
  assert.ok(onDisk().every((bytes) => !bytes.includes('penicillin')));
  assert.ok(onDisk().some((bytes) => bytes.includes('visit-1'))); // ids are not encrypted

  // 1. All processes learn the new key. 2. All write with it; the old one still opens what it wrote.
  const rotated = chainCodecs(
    gzipCodec({ aboveBytes: 4_096 }), // compress first: ciphertext doesn't shrink
    aesGcmCodec({ keys: { a: old, b: fresh }, currentKeyId: 'b' }),
  );
  assert.equal(await worker(rotated, (call) => call('visit-1')), expected);
  await worker(rotated, (call) => call('visit-2'));
  console.log('both keys: read', expected);

  // 3. The old key goes when nothing is left that it has written. Too early, and this is what happens:
  const early = aesGcmCodec({ keys: { b: fresh }, currentKeyId: 'b' });
  for (const codec of [early, null]) {
    await assert.rejects(
      worker(codec, (call) => call('visit-1')),
      (error) => {
        console.log(`${codec === null ? 'no codec' : 'old key gone'}: ${error.code}: ${error.message}`);
        return isRecoveryError(error, 'CODEC_FAILED');
      },
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
