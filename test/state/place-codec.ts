import type { PayloadCodec } from '../../src/domain/codec.js';

/** Hides a text in base64 beside its place, and refuses it under any other place. */
export const placeCodec: PayloadCodec = {
  encode: (text, place) => Buffer.from(JSON.stringify([place, text])).toString('base64'),
  decode: (stored, place) => {
    const parts: unknown = JSON.parse(Buffer.from(stored, 'base64').toString());
    if (!Array.isArray(parts) || parts[0] !== place) throw new Error(`not of this place: ${stored}`);
    return String(parts[1]);
  },
};
