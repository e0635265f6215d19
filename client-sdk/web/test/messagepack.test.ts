import { decode } from '@msgpack/msgpack';
import { expect, it } from 'vitest';
import { encodeCanonical } from '../src/protocol/canonical.js';
import { readMessagePack } from '../src/protocol/messagepack.js';
import { compareUtf8, type Value } from '../src/protocol/value.js';
import { unhex } from './wire.js';

const DEPTH = 8;

/** The same numbers at every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const SCALARS: readonly Value[] = [
  ...[0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER],
  ...[-1, -32, -33, -128, -129, -32_768, -32_769, -(2 ** 31), -(2 ** 31) - 1, Number.MIN_SAFE_INTEGER],
  ...[0.5, -1e300, 5e-324, true, false, null],
  ...['', 'a', 'ä', '\ufeffb', 'x'.repeat(31), 'y'.repeat(32), 'ß'.repeat(200), '😀'.repeat(200)],
  ...[0, 255, 256, 70_000].map((length) => new Uint8Array(length).fill(7)),
];

/** At most four members a level: a few of the scalars are large. */
function some(below: (limit: number) => number, depth: number): Value {
  const kind = depth === 0 ? 0 : below(3);
  const members = Array.from({ length: below(5) }, (_, i) => i);
  if (kind === 0) return SCALARS[below(SCALARS.length)] ?? null;
  if (kind === 1) return members.map(() => some(below, depth - 1));
  return Object.fromEntries(members.map((i) => [`k${i}`, some(below, depth - 1)]));
}

const LIBRARY = { useBigInt64: true } as const;

it('each scalar is read as the reference reads it', () => {
  for (const value of SCALARS)
    expect(readMessagePack(encodeCanonical(value), DEPTH)).toEqual(decode(encodeCanonical(value), LIBRARY));
});

it.each([1, 2, 3])('value_7 reads what the reference reads, seed %i', (seed) => {
  const below = numbers(seed);
  for (let i = 0; i < 40; i++) {
    const bytes = encodeCanonical(some(below, 3));
    expect(readMessagePack(bytes, DEPTH)).toEqual(decode(bytes, LIBRARY));
  }
});

it('value_7 reads long arrays and maps', () => {
  const keys = Array.from({ length: 70_000 }, (_, i) => `k${i}`).sort(compareUtf8);
  for (const value of [keys, Object.fromEntries(keys.map((key, i) => [key, i]))])
    expect(readMessagePack(encodeCanonical(value), DEPTH)).toEqual(value);
});

it('value_1 a message that is cut anywhere, or goes on, is refused', () => {
  const whole = encodeCanonical({
    a: [1, 300, 70_000, 2 ** 40, -5, -300, 0.5, 'text', new Uint8Array(3), { b: null }],
  });
  for (let length = 0; length < whole.length; length++)
    expect(() => readMessagePack(whole.subarray(0, length), DEPTH)).toThrow('it is cut short');
  expect(() => readMessagePack(new Uint8Array([...whole, 0]), DEPTH)).toThrow('bytes follow it');
});

it('value_1 any bytes are read as the reference reads them, or refused by name', () => {
  const below = numbers(9);
  let read = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = Uint8Array.from({ length: 1 + below(12) }, () => below(256));
    let value: unknown;
    try {
      value = readMessagePack(bytes, DEPTH);
    } catch (error) {
      expect(error).toMatchObject({ name: 'BadValueError' });
      continue;
    }
    read += 1;
    expect(value).toEqual(decode(bytes, LIBRARY));
  }
  expect(read).toBeGreaterThan(500);
});

it.each([
  ['dd ffffffff', 'cut short', 'an array of which nothing is there'],
  ['df ffffffff', 'cut short', 'a map of which nothing is there'],
  ['db ffffffff 61', 'cut short', 'a text longer than the message'],
  ['91'.repeat(64), 'VALUE-4', 'more levels than are allowed'],
  ['81 a9 5f5f70726f746f5f5f 80', 'VALUE-3', 'a key that would be a prototype'],
  ['81 01 02', 'VALUE-5', 'a key that is a number'],
  ['c1', '0xc1', 'a byte that begins nothing'],
  ['ca 3f000000', '0xca', 'a float of 32 bits'],
  ['d6 ff 00000000', 'VALUE-5', 'an extension'],
  ['a2 c3 28', 'UTF-8', 'a text that is none'],
])('%s is refused (%s): %s', (bytes, reason) => {
  expect(() => readMessagePack(unhex(bytes.replaceAll(' ', '')), DEPTH)).toThrow(reason);
});
