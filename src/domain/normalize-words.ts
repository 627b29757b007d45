/** Tells words that people chose from values that a program made: numbers, hex, ids drawn by chance. */

/** Stands for a value: a number, an id, an address, a time. One sign for all: the same id may be all digits once. */
export const VALUE = '#';

/** A longer run of word characters is data, whatever it is made of. */
export const LONGEST_WORD = 64;

const UUID = /[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/gi;

/** What a name is made of: words that begin with a capital or not, abbreviations, numbers. */
const PIECES = /[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+/g;

/**
 * Whether it was drawn by chance: nanoid, ULID, a token. `getUserByIdFromDatabase` and `my-job-2` were not: the pieces
 * of names are longer than those of chance, and have no numbers in their middle. Of the names in Node's own API one in
 * a hundred is taken for random, of nanoids one in two hundred is not.
 */
export function isRandom(run: string): boolean {
  if (run.length < 16 || run.includes(VALUE)) return false;
  // What is longer is judged by its beginning, so that no text takes long.
  const pieces = run.slice(0, LONGEST_WORD).match(PIECES) ?? [];
  const perPiece = pieces.join('').length / Math.max(1, pieces.length);
  if (pieces.length > 1 && perPiece < 3.3) return true;
  const numbersInside = (run.slice(0, LONGEST_WORD).match(/[A-Za-z]\d+(?=[A-Za-z])/g) ?? []).length;
  return numbersInside >= 2 || (numbersInside === 1 && perPiece < 4.2);
}

function plainWord(word: string): string {
  if (!/\d/.test(word)) return isRandom(word) ? VALUE : word;
  const hex = /^0x[\da-f]+$|^[\da-f]{6,}$/i.test(word);
  const mixed = word.length >= 5 && /\d[A-Za-z]+\d/.test(word);
  return hex || mixed || isRandom(word) ? VALUE : word.replace(/\d+/g, VALUE);
}

/** Words, numbers and ids that hang together by `-` and `_`, without what varies. */
export function plainRun(run: string): string {
  const known = run.replace(UUID, VALUE);
  if (known.length > LONGEST_WORD || isRandom(known)) return VALUE;
  return known.replace(/[A-Za-z\d]+/g, plainWord).replace(/#+/g, VALUE);
}
