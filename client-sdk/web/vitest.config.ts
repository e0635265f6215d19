import { defineConfig } from 'vitest/config';

const source = (path: string): string => `${import.meta.dirname}/${path}`;

export default defineConfig({
  // As apps import them: the packages are not built for their tests.
  resolve: {
    alias: { '@syncline/client': source('src/index.ts'), '@syncline/react': source('react/src/index.ts') },
  },
  oxc: { jsx: { runtime: 'automatic' } },
  test: {
    include: ['test/**/*.test.ts', 'demo/**/*.test.ts', 'react/test/*.test.tsx', 'examples/*.test.ts'],
    environment: 'node',
    testTimeout: 10_000,
  },
});
