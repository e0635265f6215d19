/** MessagePack in its canonical form (VALUE-7), which is part of the contract, and reading of it. */
import { readMessagePack } from './messagepack.js';
import { BadValueError, compareUtf8, DEPTH_MAX, isMap, toValue, type Value, type ValueMap } from './value.js';

/** The canonical MessagePack of a checked value. */
export function encodeCanonical(value: Value): Uint8Array {
  const out = new Writer();
  write(out, value);
  return out.finish();
}

/**
 * Reads canonical MessagePack; anything else is refused. Other forms, and keys that repeat, are found by writing again what was
 * read: every message of the broker is canonical.
 */
export function decodeCanonical(bytes: Uint8Array, depthMax: number = DEPTH_MAX): Value {
  const value = toValue(readMessagePack(bytes, depthMax), depthMax);
  if (!sameBytes(encodeCanonical(value), bytes)) throw new BadValueError('VALUE-7', 'not in canonical form');
  return value;
}

/** Reads canonical MessagePack that must be a map. */
export function decodeMap(bytes: Uint8Array, depthMax: number): ValueMap {
  const value = decodeCanonical(bytes, depthMax);
  if (!isMap(value)) throw new BadValueError('VALUE-1', 'not a map');
  return value;
}

/** Whether two byte strings are equal. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function write(out: Writer, value: Value): void {
  if (value === null) out.byte(0xc0);
  else if (typeof value === 'boolean') out.byte(value ? 0xc3 : 0xc2);
  else if (typeof value === 'number') writeNumber(out, value);
  else if (typeof value === 'string') writeText(out, value);
  else if (value instanceof Uint8Array) writeBytes(out, value);
  else if (Array.isArray(value)) writeArray(out, value);
  else writeMap(out, value as ValueMap);
}

function writeNumber(out: Writer, value: number): void {
  if (!Number.isSafeInteger(value)) out.float64(value);
  else if (value >= 0) writeUnsigned(out, value);
  else writeNegative(out, value);
}

function writeUnsigned(out: Writer, value: number): void {
  if (value < 0x80) out.byte(value);
  else if (value < 0x100) out.head(0xcc, 1, value);
  else if (value < 0x10000) out.head(0xcd, 2, value);
  else if (value < 0x1_0000_0000) out.head(0xce, 4, value);
  else out.int64(0xcf, value);
}

function writeNegative(out: Writer, value: number): void {
  if (value >= -0x20) out.byte(value & 0xff);
  else if (value >= -0x80) out.head(0xd0, 1, value);
  else if (value >= -0x8000) out.head(0xd1, 2, value);
  else if (value >= -0x8000_0000) out.head(0xd2, 4, value);
  else out.int64(0xd3, value);
}

const utf8 = new TextEncoder();
/** Their length stands in the head itself. */
const SHORT_TEXT_MAX = 32;

function writeText(out: Writer, value: string): void {
  // Most texts are names and keys, for which the encoder's call costs more than they do.
  if (value.length < SHORT_TEXT_MAX && out.shortAscii(value)) return;
  const bytes = utf8.encode(value);
  if (bytes.length < SHORT_TEXT_MAX) out.byte(0xa0 | bytes.length);
  else writeLength(out, bytes.length, [0xd9, 0xda, 0xdb]);
  out.raw(bytes);
}

function writeBytes(out: Writer, value: Uint8Array): void {
  writeLength(out, value.length, [0xc4, 0xc5, 0xc6]);
  out.raw(value);
}

function writeArray(out: Writer, value: readonly Value[]): void {
  if (value.length < 16) out.byte(0x90 | value.length);
  else writeLength(out, value.length, [undefined, 0xdc, 0xdd]);
  for (const member of value) write(out, member);
}

function writeMap(out: Writer, value: ValueMap): void {
  const entries = Object.entries(value).sort(([a], [b]) => compareUtf8(a, b));
  if (entries.length < 16) out.byte(0x80 | entries.length);
  else writeLength(out, entries.length, [undefined, 0xde, 0xdf]);
  for (const [key, member] of entries) {
    writeText(out, key);
    write(out, member);
  }
}

/** A length under the shortest of the heads for 1, 2 and 4 bytes. */
function writeLength(
  out: Writer,
  length: number,
  heads: readonly [number | undefined, number, number],
): void {
  const [head8, head16, head32] = heads;
  if (length < 0x100 && head8 !== undefined) out.head(head8, 1, length);
  else if (length < 0x10000) out.head(head16, 2, length);
  else out.head(head32, 4, length);
}

/** Bytes that grow by doubling. */
class Writer {
  #bytes = new Uint8Array(128);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  byte(value: number): void {
    const at = this.#take(1);
    this.#view.setUint8(at, value);
  }

  /** A text of less than 32 characters with its head; false, and nothing is written, if it is more than ASCII. */
  shortAscii(text: string): boolean {
    const begin = this.#length;
    this.byte(0xa0 | text.length);
    let at = this.#take(text.length);
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) {
        this.#length = begin;
        return false;
      }
      this.#bytes[at++] = unit;
    }
    return true;
  }

  /** A head byte and an integer of `size` bytes; a negative one as its two's complement. */
  head(head: number, size: 1 | 2 | 4, value: number): void {
    this.byte(head);
    const at = this.#take(size);
    if (size === 1) this.#view.setUint8(at, value);
    else if (size === 2) this.#view.setUint16(at, value);
    else this.#view.setUint32(at, value);
  }

  int64(head: number, value: number): void {
    this.byte(head);
    const at = this.#take(8);
    this.#view.setBigInt64(at, BigInt(value));
  }

  float64(value: number): void {
    this.byte(0xcb);
    const at = this.#take(8);
    this.#view.setFloat64(at, value);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.#bytes.set(bytes, at);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Room for `size` bytes. It may replace the view, so it is called before the view is named. */
  #take(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) this.#grow();
    return at;
  }

  #grow(): void {
    const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
