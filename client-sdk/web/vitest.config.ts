import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts', 'demo/**/*.test.ts'],
    environment: 'node',
    testTimeout: 10_000,
  },
});
