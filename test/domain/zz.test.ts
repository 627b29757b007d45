import { it } from 'vitest';
import { categoryOf } from '../../src/domain/error-category.js';
import { normalizedMessage as n, fingerprintOf, topUserFrame } from '../../src/domain/fingerprint.js';
import { openCorpus, failureOf, factsOf } from './error-corpus.js';
it('x', async () => {
  const { entries, close } = await openCorpus();
  const seen = new Map<string, string>();
  for (const e of entries) {
    try {
    const t0 = Date.now();
    const [ea, eb] = [await failureOf(e, 1), await failureOf(e, 2)];
    const [a, b] = [factsOf(ea), factsOf(eb)];
    const [fa, fb] = [a, b].map((f) => fingerprintOf({ ...f, frame: null }));
    const cat = categoryOf(a);
    const frames = [ea, eb].map((x) => topUserFrame((x as Error).stack));
    const flags = [cat === e.category ? '' : `CATEGORY ${cat} not ${e.category}`, fa === fb ? '' : `SPLIT ${n(b.message)}`, seen.has(fa!) ? `SAME AS ${seen.get(fa!)}` : '', frames[0] === frames[1] ? '' : `FRAMES ${frames}`, n(n(a.message)) === n(a.message) ? '' : 'IDEM', Date.now() - t0 > 300 ? `SLOW ${Date.now() - t0}` : ''].filter(Boolean).join('; ');
    seen.set(fa!, e.reason);
    console.log(`${flags ? '!!! ' + flags : 'ok'} | ${e.reason} | ${a.name} ${a.code} | ${n(a.message).slice(0, 200)} | ${frames[0]}`);
    } catch (error) { console.log('!!! FAIL', e.reason, String(error)); }
  }
  await close();
}, 60000);
