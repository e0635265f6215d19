/**
 * Reading MessagePack, as far as canonical form (VALUE-7) makes use of it: no extensions, no 32 bit floats.
 *
 * A library would bring four times the code, most of it for streams and extensions that no message here may hold.
 */
import { BadValueError, DEPTH_MAX, isReservedKey } from './value.js';

/**
 * What the bytes say, and nothing behind it. 64 bit integers are `bigint`, so that one beyond 2^53-1 is told from a double
 * (VALUE-1, VALUE-2); of keys that repeat the last one counts. At most `depthMax` levels of arrays and maps. Throws a
 * {@link BadValueError}.
 */
export function readMessagePack(bytes: Uint8Array, depthMax: number): unknown {
  const reader = new Reader(bytes);
  const value = reader.value(depthMax);
  reader.end();
  return value;
}

// `ignoreBOM` keeps it: a text may begin with one.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Up to here texts are mostly names, for which a loop is quicker than a call of the decoder. */
const SHORT_TEXT_BYTES_MAX = 24;

class Reader {
  readonly #view: DataView;
  #at = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  end(): void {
    if (this.#at < this.bytes.length) throw malformed('bytes follow it');
  }

  value(depth: number): unknown {
    const head = this.#unsigned(1);
    if (head < 0x80) return head;
    if (head < 0x90) return this.#map(head & 0x0f, depth);
    if (head < 0xa0) return this.#array(head & 0x0f, depth);
    if (head < 0xc0) return this.#text(head & 0x1f);
    return head < 0xe0 ? this.#long(head, depth) : head - 0x100;
  }

  /** Where the length, or the number, stands in bytes of its own: 1, 2, 4 or 8 of them, as the lowest bits of the head say. */
  #long(head: number, depth: number): unknown {
    if (head === 0xc0) return null;
    if (head === 0xc2 || head === 0xc3) return head === 0xc3;
    if (head >= 0xc4 && head <= 0xc6) return this.#raw(this.#unsigned(1 << (head - 0xc4)));
    if (head === 0xcb) return this.#view.getFloat64(this.#take(8));
    if (head >= 0xcc && head <= 0xce) return this.#unsigned(1 << (head - 0xcc));
    if (head === 0xcf) return this.#view.getBigUint64(this.#take(8));
    if (head >= 0xd0 && head <= 0xd2) return this.#signed(1 << (head - 0xd0));
    if (head === 0xd3) return this.#view.getBigInt64(this.#take(8));
    if (head >= 0xd9 && head <= 0xdb) return this.#text(this.#unsigned(1 << (head - 0xd9)));
    if (head === 0xdc || head === 0xdd) return this.#array(this.#unsigned(2 << (head - 0xdc)), depth);
    if (head === 0xde || head === 0xdf) return this.#map(this.#unsigned(2 << (head - 0xde)), depth);
    throw new BadValueError('VALUE-5', `0x${head.toString(16)} begins no value`);
  }

  #map(length: number, depth: number): Record<string, unknown> {
    const map: Record<string, unknown> = {};
    const inner = deeper(depth);
    for (let i = 0; i < length; i++) map[this.#key()] = this.value(inner);
    return map;
  }

  #key(): string {
    // A container as a key is refused as what it is, whatever is in it.
    const key = this.value(1);
    if (typeof key !== 'string') throw new BadValueError('VALUE-5', 'a key is not text');
    // Before it is set: `__proto__` would mean something else than itself.
    if (isReservedKey(key)) throw new BadValueError('VALUE-3', `the key ${key} is refused`);
    return key;
  }

  /** Grows with what is there, not with what is claimed. */
  #array(length: number, depth: number): unknown[] {
    const array: unknown[] = [];
    const inner = deeper(depth);
    for (let i = 0; i < length; i++) array.push(this.value(inner));
    return array;
  }

  #text(length: number): string {
    const raw = this.#raw(length);
    const short = length <= SHORT_TEXT_BYTES_MAX ? asciiOf(raw) : undefined;
    if (short !== undefined) return short;
    try {
      return utf8.decode(raw);
    } catch {
      throw malformed('a text is not UTF-8');
    }
  }

  #raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.bytes.subarray(at, at + length);
  }

  #unsigned(size: number): number {
    const at = this.#take(size);
    if (size === 1) return this.#view.getUint8(at);
    return size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #signed(size: number): number {
    const at = this.#take(size);
    if (size === 1) return this.#view.getInt8(at);
    return size === 2 ? this.#view.getInt16(at) : this.#view.getInt32(at);
  }

  /** Where the next `size` bytes begin. */
  #take(size: number): number {
    const at = this.#at;
    if (size > this.bytes.length - at) throw malformed('it is cut short');
    this.#at += size;
    return at;
  }
}

/** undefined: it is more than ASCII. */
function asciiOf(raw: Uint8Array): string | undefined {
  let text = '';
  for (const byte of raw) {
    if (byte >= 0x80) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

function deeper(depth: number): number {
  if (depth === 0) throw new BadValueError('VALUE-4', `deeper than ${DEPTH_MAX}`);
  return depth - 1;
}

function malformed(what: string): BadValueError {
  return new BadValueError('VALUE-1', `not MessagePack: ${what}`);
}
