/** What users hand over to be stored, on its way to the storage and back: through their codec, if they have one. */
import type { PayloadCodec } from '../domain/codec.js';
import { isRecoveryError, RecoveryError } from '../errors.js';
import { MAX_VALUE_BYTES } from '../storage/storage.js';

/** Before each text that a codec has made; no JSON text begins with it. */
const SEAL = '~';
/** What fits into a field of the storage, with room for what stands around it. */
const MAX_SEALED_BYTES = MAX_VALUE_BYTES - 64 * 1024;

export class Payloads {
  /** False without a codec: then texts are stored as they are. */
  readonly encoded: boolean;
  readonly #codec: PayloadCodec | null;
  readonly #namespace: string;

  constructor(codec: PayloadCodec | null, namespace: string) {
    this.encoded = codec !== null;
    this.#codec = codec;
    this.#namespace = namespace;
  }

  /** The text to store. @throws `CODEC_FAILED` */
  seal(text: string, taskId: string, what: string): string {
    if (this.#codec === null) return text;
    const sealed = SEAL + this.#run('encode', text, taskId, what);
    const bytes = Buffer.byteLength(sealed);
    if (bytes <= MAX_SEALED_BYTES) return sealed;
    throw new RecoveryError(
      'PAYLOAD_TOO_LARGE',
      `The ${what} of task "${taskId}" has ${bytes} bytes once encoded, over the limit of ${MAX_SEALED_BYTES} bytes.`,
      { details: { bytes, maxBytes: MAX_SEALED_BYTES } },
    );
  }

  /** The text that was sealed. @throws `CODEC_FAILED` */
  open(stored: string, taskId: string, what: string): string {
    const sealed = stored.startsWith(SEAL);
    if (this.#codec !== null) {
      // A text from before there was a codec is shown to it as it is: whether it may pass is the codec's to say.
      return this.#run('decode', sealed ? stored.slice(SEAL.length) : stored, taskId, what);
    }
    if (!sealed) return stored;
    throw new RecoveryError(
      'CODEC_FAILED',
      `The ${what} of task "${taskId}" was stored through a codec, and this Recovery has none. Give it the same codec.`,
      { details: { taskId, payload: what, way: 'decode' } },
    );
  }

  #run(way: 'encode' | 'decode', text: string, taskId: string, what: string): string {
    // Parts with their lengths: no id can imitate the end of another part.
    const place = [this.#namespace, taskId, what].map((part) => `${part.length}:${part}`).join(' ');
    let problem = 'it answered with something that is no well-formed text';
    let known: Readonly<Record<string, unknown>> = {};
    try {
      const done: unknown = this.#codec?.[way](text, place);
      if (typeof done === 'string' && done.isWellFormed()) return done;
      // An async one by mistake: what it rejects with must not end the process.
      Promise.resolve(done).catch(() => {});
    } catch (error) {
      // What a codec throws may quote the payload; the errors of this library's own codecs don't.
      problem = `it threw ${error instanceof Error ? error.name : typeof error}`;
      if (isRecoveryError(error, 'CODEC_FAILED')) {
        problem = error.message.replace(`${place}: `, '');
        known = error.details;
      }
    }
    throw new RecoveryError(
      'CODEC_FAILED',
      `The codec could not ${way} ${what} of task "${taskId}": ${problem}`,
      {
        details: { ...known, taskId, payload: what, way },
      },
    );
  }
}
