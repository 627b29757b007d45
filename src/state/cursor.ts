/** Cursors of lists and logs: opaque texts, whose parts whoever made them checks again. */

type Part = string | number | null;

export function encodeParts(parts: readonly Part[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** The parts; none for a text that is no cursor at all. */
export function decodeParts(cursor: string): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}
