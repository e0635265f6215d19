/** Reading named fields of a decoded map, each with its type, in one voice. */
import { isMap, type Value, type ValueMap } from './value.js';

/** A message of the broker is not what the protocol says; the message names the field. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError';
}

export function text(map: ValueMap, name: string): string {
  const value = map[name];
  return typeof value === 'string' ? value : wrong(name, 'text');
}

export function textOrNull(map: ValueMap, name: string): string | null {
  return (map[name] ?? null) === null ? null : text(map, name);
}

/** An integer of at least `least`. */
export function integer(map: ValueMap, name: string, least = 0): number {
  const value = map[name];
  return Number.isSafeInteger(value) && (value as number) >= least
    ? (value as number)
    : wrong(name, 'an integer');
}

export function integerOrNull(map: ValueMap, name: string, least = 0): number | null {
  return (map[name] ?? null) === null ? null : integer(map, name, least);
}

export function boolean(map: ValueMap, name: string): boolean {
  const value = map[name];
  return typeof value === 'boolean' ? value : wrong(name, 'a bool');
}

export function bytes(map: ValueMap, name: string, length: number): Uint8Array {
  const value = map[name];
  return value instanceof Uint8Array && value.length === length ? value : wrong(name, `${length} bytes`);
}

/** Lowercase hex text of exactly `digits` characters. */
export function hex(map: ValueMap, name: string, digits: number): string {
  const value = text(map, name);
  return value.length === digits && /^[0-9a-f]*$/.test(value) ? value : wrong(name, `${digits} hex digits`);
}

export function map(parent: ValueMap, name: string): ValueMap {
  const value = parent[name];
  return isMap(value) ? value : wrong(name, 'a map');
}

export function array(parent: ValueMap, name: string): readonly Value[] {
  const value = parent[name];
  return Array.isArray(value) ? (value as readonly Value[]) : wrong(name, 'an array');
}

function wrong(name: string, expected: string): never {
  throw new MalformedError(`${name} is not ${expected}`);
}
