import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { sha256 } from '../src/protocol/sha256.js';
import { hex } from './wire.js';

it('digest_1 hashes every length around a block as the platform does', () => {
  for (let length = 0; length <= 260; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 31 + length * 7) & 0xff);
    expect(hex(sha256(bytes))).toBe(createHash('sha256').update(bytes).digest('hex'));
  }
});

it('digest_1 hashes long messages, and views into larger ones', () => {
  const bytes = new Uint8Array(1_000_003).fill(0xa5).subarray(3);
  expect(hex(sha256(bytes))).toBe(createHash('sha256').update(bytes).digest('hex'));
});
