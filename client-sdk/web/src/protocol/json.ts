/** Values as JSON text (VALUE-6): for display and for tests. What the client sends and stores is MessagePack. */
import { BadValueError, compareUtf8, isMap, toValue, type Value, type ValueMap } from './value.js';

/** The JSON text of a value, keys in canonical order. */
export function toJson(value: Value): string {
  if (typeof value === 'number') return numberText(value);
  if (value instanceof Uint8Array) return `{"$bytes":"${toBase64(value)}"}`;
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`;
  return isMap(value) ? mapText(value) : JSON.stringify(value);
}

/** Reads JSON text as a value; refuses what VALUE-6 refuses. */
export function fromJson(text: string, depthMax?: number): Value {
  const reader = new Reader(text);
  return toValue(reader.document(), depthMax);
}

function mapText(map: ValueMap): string {
  const entries = Object.entries(map).sort(([a], [b]) => compareUtf8(a, b));
  return `{${entries.map(([key, member]) => `${JSON.stringify(key)}:${toJson(member)}`).join(',')}}`;
}

/** A double must not look like an integer, since an integer beyond 2^53-1 is refused. */
function numberText(value: number): string {
  const text = String(value);
  return Number.isSafeInteger(value) || /[.e]/.test(text) ? text : `${text}.0`;
}

function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

function fromBase64(text: unknown): Uint8Array {
  if (typeof text !== 'string' || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new BadValueError('VALUE-6', '$bytes is not padded base64');
  }
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function unescape(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    throw new BadValueError('VALUE-6', 'a text has an unknown escape');
  }
}

/** An integer, if it is written as one and fits 64 bits; `toValue` then refuses one beyond 2^53-1. */
function readNumber(text: string): number | bigint {
  if (/[.eE]/.test(text)) return Number(text);
  const integer = BigInt(text);
  const fits = integer >= -(1n << 63n) && integer < 1n << 64n;
  return fits ? integer : Number(text);
}

/** A JSON reader that, unlike `JSON.parse`, tells integers from doubles and sees repeated keys. */
class Reader {
  #at = 0;
  constructor(private readonly text: string) {}

  document(): unknown {
    const value = this.#value();
    this.#space();
    if (this.#at < this.text.length) this.#fail();
    return value;
  }

  #value(): unknown {
    this.#space();
    const next = this.text[this.#at];
    if (next === '{') return this.#object();
    if (next === '[') return this.#array();
    if (next === '"') return this.#string();
    const word = this.#match(/null|true|false/y, (found) => found);
    return word === undefined ? this.#number() : JSON.parse(word);
  }

  #object(): unknown {
    const map: Record<string, unknown> = {};
    this.#list('}', () => {
      this.#space();
      const key = this.#string();
      if (key === '__proto__' || Object.hasOwn(map, key))
        throw new BadValueError('VALUE-6', `repeated or refused key ${key}`);
      this.#expect(':');
      map[key] = this.#value();
    });
    const keys = Object.keys(map);
    return keys.length === 1 && keys[0] === '$bytes' ? fromBase64(map['$bytes']) : map;
  }

  #array(): unknown {
    const array: unknown[] = [];
    this.#list(']', () => array.push(this.#value()));
    return array;
  }

  #list(end: string, member: () => void): void {
    this.#at += 1;
    this.#space();
    if (this.#skip(end)) return;
    do member();
    while (this.#skip(','));
    this.#expect(end);
  }

  #string(): string {
    return this.#match(/"(?:[^"\\\u0000-\u001f]|\\.)*"/y, unescape) ?? this.#fail();
  }

  #number(): number | bigint {
    return this.#match(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y, readNumber) ?? this.#fail();
  }

  #match<T>(pattern: RegExp, read: (text: string) => T): T | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return read(found[0]);
  }

  #space(): void {
    this.#match(/[ \t\r\n]*/y, () => undefined);
  }

  #skip(character: string): boolean {
    this.#space();
    if (this.text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #expect(character: string): void {
    if (!this.#skip(character)) this.#fail();
  }

  #fail(): never {
    throw new BadValueError('VALUE-6', `not JSON at character ${this.#at}`);
  }
}
