import { defineConfig } from 'vitest/config';

/** Against the real binary: `npm run test:broker`, after `cargo build -p syncline-broker`. */
export default defineConfig({
  test: { include: ['test/real/**/*.real.ts'], environment: 'node', testTimeout: 30_000 },
});
