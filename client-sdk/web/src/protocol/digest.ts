/** Digests of entries and states (DIGEST-1, DIGEST-2), and the schema's hash. */
import { encodeCanonical } from './canonical.js';
import { toHex } from './ids.js';
import { sha256 } from './sha256.js';
import type { Value } from './value.js';

const MODULUS = 1n << 128n;

/** A sum modulo 2^128 of entry digests. Adding and removing an entry cost one hash each. */
export class DigestSum {
  #sum = 0n;

  add(digest: bigint): void {
    this.#sum = (this.#sum + digest) % MODULUS;
  }

  remove(digest: bigint): void {
    this.#sum = (this.#sum + MODULUS - digest) % MODULUS;
  }

  clone(): DigestSum {
    const copy = new DigestSum();
    copy.#sum = this.#sum;
    return copy;
  }

  get value(): bigint {
    return this.#sum;
  }
}

/** Of one live entry, `entry` being its map as SPEC writes it. */
export function entryDigest(collection: string, key: string, entry: Value): bigint {
  const hash = sha256(encodeCanonical([collection, key, entry]));
  const view = new DataView(hash.buffer, hash.byteOffset);
  return (view.getBigUint64(0) << 64n) | view.getBigUint64(8);
}

/** 32 lowercase hex digits. */
export function digestText(digest: bigint): string {
  return (digest % MODULUS).toString(16).padStart(32, '0');
}

/** SHA-256 of a value's canonical form, 64 lowercase hex digits (SCHEMA-2). */
export function valueHash(value: Value): string {
  return toHex(sha256(encodeCanonical(value)));
}
