/** What ties schemas to the types of the library: one that is wider, narrower or short of a key does not compile. */
import * as z from 'zod';

/** Whether a schema has the keys of a type, and values neither wider nor narrower. */
type Gives<S extends z.ZodType, T> = [z.output<S>, T, keyof z.output<S>, keyof T] extends [
  T,
  z.output<S>,
  keyof T,
  keyof z.output<S>,
]
  ? true
  : false;

/** Does not compile unless the schema is one of just this type. */
export function schemaOf<T>() {
  return <S extends z.ZodType<T, T>>(schema: S, _fits: Gives<S, T>): z.ZodType<T, T> => schema;
}

/** A schema for each key of a type. */
export type Shape<T> = { readonly [K in keyof T]-?: z.ZodType<T[K], T[K]> };

/** A number of things, or of whole ms. */
export const count: z.ZodInt = z.int().min(0);

/** A part of a hundred. */
export const percent: z.ZodNumber = z.number().min(0).max(100);

/** A list that nobody is to change. */
export function listOf<T>(schema: z.ZodType<T, T>): z.ZodType<readonly T[], readonly T[]> {
  return z.array(schema);
}
