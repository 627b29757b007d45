/** Texts for people: nothing that a terminal would obey, times and lengths in readable units. */

import { withoutPasswords } from './secrets.js';

/** What a terminal takes for an order, or that turns the order of letters round. */
const UNSAFE = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

function escaped(character: string): string {
  if (character === '\n') return '\\n';
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** A text of somebody else's on one line, without passwords and control characters: these are shown as `\u001b`. */
export function harmless(text: string): string {
  return withoutPasswords(text).toWellFormed().replaceAll(UNSAFE, escaped);
}

function cleaned(_: string, value: unknown): unknown {
  return typeof value === 'string' ? withoutPasswords(value).toWellFormed() : value;
}

/** JSON without passwords in which nothing but the line breaks of its indentation is a control character. */
export function harmlessJson(value: unknown, indent: number): string {
  // JSON leaves DEL, the second set of control characters and marks of direction as they are.
  return JSON.stringify(value, cleaned, indent).replaceAll(UNSAFE, (character) =>
    character === '\n' ? character : escaped(character),
  );
}

/** At most so many characters. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

const LATEST_MS = 8.64e15;

/** A time as ISO 8601, in UTC; `-` for none. */
export function timeText(ms: number | null): string {
  if (ms === null) return '-';
  return Math.abs(ms) <= LATEST_MS ? new Date(ms).toISOString() : String(ms);
}

/** A length of time; `-` for none. */
export function durationText(ms: number | null): string {
  if (ms === null) return '-';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `1 task`, `2 tasks`. */
export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
