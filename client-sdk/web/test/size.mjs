// How large the client is in a page, MQTT.js left out: minified and gzipped. `npm run size` prints it.
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

/** Bytes after gzip. */
export async function gzippedBytes() {
  const entry = fileURLToPath(new URL('../src/index.ts', import.meta.url));
  const output = await build({
    configFile: false,
    logLevel: 'silent',
    // Not as a library: that would keep its white space.
    build: {
      write: false,
      rollupOptions: { input: entry, external: ['mqtt'], preserveEntrySignatures: 'strict' },
    },
  });
  const [{ output: chunks }] = [output].flat();
  return gzipSync(chunks.map(({ code }) => code).join('')).length;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  console.log(`${await gzippedBytes()} bytes gzipped, without MQTT.js`);
