/** The values that an event or an entry may hold (VALUE-1). */

/** nil, bool, integer within ±(2^53-1), finite double, text, bytes, array, map. */
export type Value = null | boolean | number | string | Uint8Array | readonly Value[] | ValueMap;

/** A map of a {@link Value}. */
export interface ValueMap {
  readonly [key: string]: Value;
}
