import { defineConfig } from 'vite';

/** Addresses stay relative, so that the page also works below a path. Everything it needs comes from the broker. */
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: [`${import.meta.dirname}/index.html`, `${import.meta.dirname}/split.html`],
    },
  },
  server: { proxy: { '/mqtt': { target: 'ws://127.0.0.1:8080', ws: true } } },
});
