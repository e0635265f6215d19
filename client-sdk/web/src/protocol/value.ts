/**
 * The values that an event or an entry may hold (VALUE-1 … VALUE-5).
 *
 * JavaScript has one number type, so VALUE-2 holds by itself, except that -0 becomes 0 here.
 */

/** nil, bool, integer within ±(2^53-1), finite double, text, bytes, array, map. */
export type Value = null | boolean | number | string | Uint8Array | readonly Value[] | ValueMap;

/** A map of a {@link Value}. */
export interface ValueMap {
  readonly [key: string]: Value;
}

/** The most levels of arrays and maps around a scalar (VALUE-4). */
export const DEPTH_MAX = 32;

/** A value breaks one of VALUE-1 … VALUE-5; the message says which. */
export class BadValueError extends Error {
  override readonly name = 'BadValueError';
  constructor(
    readonly rule: string,
    sentence: string,
  ) {
    super(`${sentence} (${rule})`);
  }
}

/**
 * Checks anything from outside (an app's argument, decoded MessagePack) and returns it as a {@link Value} of its
 * own: a copy that later changes by the caller do not reach.
 */
export function toValue(input: unknown, depthMax: number = DEPTH_MAX): Value {
  switch (typeof input) {
    case 'boolean':
      return input;
    case 'number':
      return toNumber(input);
    case 'bigint':
      return toInteger(input);
    case 'string':
      return toText(input);
    case 'object':
      return input === null ? null : toContainer(input, depthMax);
    default:
      throw new BadValueError('VALUE-1', `a ${typeof input} is not a value`);
  }
}

/** Whether a value is a map, and not nil, bytes or an array. */
export function isMap(value: unknown): value is ValueMap {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Orders text by its UTF-8 bytes (VALUE-7), which differs from UTF-16 order where surrogates meet U+E000 and up. */
export function compareUtf8(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return byCodePoint(left) - byCodePoint(right);
  }
  return a.length - b.length;
}

/** The rank of a UTF-16 unit in code point order: surrogates stand for code points above U+FFFF. */
function byCodePoint(unit: number): number {
  if (unit >= 0xe000) return unit - 0x800;
  return unit >= 0xd800 ? unit + 0x2000 : unit;
}

function toNumber(input: number): number {
  if (!Number.isFinite(input)) throw new BadValueError('VALUE-5', `${input} is not a finite number`);
  return input === 0 ? 0 : input;
}

function toInteger(input: bigint): number {
  const number = Number(input);
  if (!Number.isSafeInteger(number)) throw new BadValueError('VALUE-1', 'an integer is beyond 2^53-1');
  return number;
}

function toText(input: string): string {
  if (/\p{Surrogate}/u.test(input)) throw new BadValueError('VALUE-1', 'a text has an unpaired surrogate');
  return input;
}

function toContainer(input: object, depthMax: number): Value {
  // Not slice(): of a Buffer that would be a view.
  if (input instanceof Uint8Array) return new Uint8Array(input);
  const array = Array.isArray(input);
  if (!array && !isMap(input)) throw new BadValueError('VALUE-1', 'an object that is no map is not a value');
  if (depthMax === 0) throw new BadValueError('VALUE-4', `deeper than ${DEPTH_MAX}`);
  return array ? toArray(input, depthMax - 1) : toMap(input, depthMax - 1);
}

function toArray(input: readonly unknown[], depthMax: number): Value {
  // Array.from also visits holes, which map() would keep as holes.
  return Array.from(input, (member) => toValue(member, depthMax));
}

function toMap(input: object, depthMax: number): ValueMap {
  const map: Record<string, Value> = {};
  for (const [key, member] of Object.entries(input)) map[toKey(key)] = toValue(member, depthMax);
  return map;
}

/** The keys that no map has (VALUE-3), so nothing that becomes a key of a map may be named so. */
export function isReservedKey(key: string): boolean {
  return key === '__proto__' || key === '$bytes';
}

function toKey(key: string): string {
  if (isReservedKey(key)) throw new BadValueError('VALUE-3', `the key ${key} is refused`);
  return toText(key);
}
