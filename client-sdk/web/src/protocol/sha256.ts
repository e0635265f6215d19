/**
 * SHA-256 (FIPS 180-4), at once and in any page: `crypto.subtle` is asynchronous, and not there over plain http.
 *
 * Digests here prove accident, not malice, and nothing secret is hashed, so nothing has to take the same time.
 */

const PRIMES = [...primes(64)];

/** Square roots of the first 8 primes: the first 32 bits of their fractions. */
const START = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));

/**
 * Cube roots of the first 64 primes: the same. `cbrt` need not be right in its last bits (ECMA-262), but a double is right to
 * 2^-50 here, and none of these roots is nearer than 2^-38 to where its 32 bits would be others.
 */
const ROUNDS = PRIMES.map((prime) => fraction(Math.cbrt(prime)));

function* primes(count: number): Generator<number, void, void> {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) {
    if (found.some((prime) => n % prime === 0)) continue;
    found.push(n);
    yield n;
  }
}

function fraction(root: number): number {
  return ((root % 1) * 2 ** 32) >>> 0;
}

const BLOCK_BYTES = 64;
/** The mark behind the message, and its length in bits. */
const TAIL_BYTES_MIN = 9;
const HASH_BYTES = 32;

/** Words of the block at hand; used again, since nothing else runs in between. */
const words = new Uint32Array(ROUNDS.length);

/** The 32 bytes. */
export function sha256(message: Uint8Array): Uint8Array {
  const view = padded(message);
  const state = Uint32Array.from(START);
  for (let at = 0; at < view.byteLength; at += BLOCK_BYTES) {
    schedule(view, at);
    compress(state);
  }
  const hash = new DataView(new ArrayBuffer(HASH_BYTES));
  state.forEach((word, i) => hash.setUint32(4 * i, word));
  return new Uint8Array(hash.buffer);
}

function padded(message: Uint8Array): DataView {
  const blocks = Math.ceil((message.length + TAIL_BYTES_MIN) / BLOCK_BYTES);
  const bytes = new Uint8Array(blocks * BLOCK_BYTES);
  bytes.set(message);
  bytes[message.length] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setBigUint64(bytes.length - 8, BigInt(message.length) * 8n);
  return view;
}

function schedule(view: DataView, at: number): void {
  for (let i = 0; i < 16; i++) words[i] = view.getUint32(at + 4 * i);
  for (let i = 16; i < words.length; i++) {
    const [a, b] = [word(i - 15), word(i - 2)];
    const s0 = turned(a, 7) ^ turned(a, 18) ^ (a >>> 3);
    const s1 = turned(b, 17) ^ turned(b, 19) ^ (b >>> 10);
    words[i] = word(i - 16) + s0 + word(i - 7) + s1;
  }
}

function compress(state: Uint32Array): void {
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  // Not by destructuring and callbacks, which take three times as long: a snapshot has a hash for each entry.
  for (let i = 0; i < ROUNDS.length; i++) {
    const s1 = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25);
    const first = (h + s1 + ((e & f) ^ (~e & g)) + (ROUNDS[i] ?? 0) + word(i)) | 0;
    const s0 = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22);
    const second = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + first) | 0;
    d = c;
    c = b;
    b = a;
    a = (first + second) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((one, i) => (state[i] = (state[i] ?? 0) + one));
}

function word(i: number): number {
  return words[i] ?? 0;
}

/** To the right, what leaves there coming back at the left. */
function turned(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}
