import { defineConfig } from 'vite';

/** Minified as an app ships it; the client is built from its sources. */
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: { outDir: 'dist', emptyOutDir: true, chunkSizeWarningLimit: 1_000, target: 'es2022', modulePreload: { polyfill: false } },
});
