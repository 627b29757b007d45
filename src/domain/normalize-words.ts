/** Tells words that people chose from values that a program made: numbers, hex, ids drawn by chance. */

/** Stands for a value: a number, an id, an address, a time. One sign for all: the same id may be all digits once. */
export const VALUE = '#';

/** A longer run of word characters is data, whatever it is made of. */
export const LONGEST_WORD = 64;

const UUID = /[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/gi;

/** How often small letters, capitals and digits take turns, from 0 to 1: chance does it more often than people. */
function restlessness(run: string): number {
  const kinds = Array.from(run.replace(/[^A-Za-z\d]/g, ''), (character) =>
    character <= '9' ? 0 : character <= 'Z' ? 1 : 2,
  );
  const changes = kinds.filter((kind, at) => at > 0 && kind !== kinds[at - 1]).length;
  return changes / Math.max(1, kinds.length - 1);
}

/** Whether it was drawn by chance: nanoid, ULID, a token. `convertBase64ToString` and `my-job-2` were not. */
export function isRandom(run: string): boolean {
  if (run.length < 16 || run.includes(VALUE)) return false;
  const inside = run.match(/[A-Za-z]\d+(?=[A-Za-z])/g) ?? [];
  return restlessness(run) >= 0.4 || inside.length >= 2;
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
