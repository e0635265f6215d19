// How large the client is in a page: minified and gzipped as an app ships it, MQTT.js left out. `npm run size` prints it.
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const INDEX = fileURLToPath(new URL('../src/index.ts', import.meta.url));
const APP = 'virtual:app';

/** What an app may import beside `openSyncline`; what each adds to it is a line of the table. */
const EXTRAS = {
  'setOf, mapOf, counterOf, listOf': ['setOf', 'mapOf', 'counterOf', 'listOf'],
  'collectionsOf, defineSchema': ['collectionsOf', 'defineSchema'],
  undoable: ['undoable'],
  'eventsOf, stateAt': ['eventsOf', 'stateAt'],
};

/** Bytes after gzip of an app of this source, with everything that it imports at once (`later`: when asked for) but what is `external`. */
async function gzippedBytes(source, external, later = false) {
  const output = await build({
    configFile: false,
    logLevel: 'silent',
    root: fileURLToPath(new URL('..', import.meta.url)),
    plugins: [
      {
        name: 'app',
        resolveId: (id) => (id === APP ? APP : undefined),
        load: (id) => (id === APP ? source : undefined),
      },
    ],
    // Not as a library: that would keep its white space.
    build: {
      write: false,
      rollupOptions: { input: APP, external, preserveEntrySignatures: 'strict' },
    },
  });
  const [{ output: chunks }] = [output].flat();
  const [entry] = chunks.filter(({ isEntry }) => isEntry);
  const atOnce = new Set([entry.fileName, ...entry.imports]);
  const wanted = chunks.filter(({ fileName }) => atOnce.has(fileName) !== later);
  return gzipSync(wanted.map(({ code }) => code).join('')).length;
}

function importing(names) {
  return `export { ${names.join(', ')} } from ${JSON.stringify(INDEX)};`;
}

/** All that is exported. */
export function wholeBytes() {
  return gzippedBytes(`export * from ${JSON.stringify(INDEX)};`, ['mqtt']);
}

/** An app that imports `openSyncline` and these names. */
export function appBytes(names = []) {
  return gzippedBytes(importing(['openSyncline', ...names]), ['mqtt']);
}

async function table() {
  const app = await appBytes();
  const rows = [
    ['openSyncline alone', app],
    [
      "deviceScope: 'browser', loaded when asked for",
      await gzippedBytes(importing(['openSyncline']), ['mqtt'], true),
    ],
    ['the whole entry', await wholeBytes()],
  ];
  for (const [title, names] of Object.entries(EXTRAS))
    rows.push([`+ ${title}`, (await appBytes(names)) - app]);
  rows.push(['MQTT.js, for comparison', await gzippedBytes(`export { default } from 'mqtt';`, [])]);
  return rows;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log('bytes, minified and gzipped; MQTT.js left out');
  for (const [title, bytes] of await table()) console.log(`${String(bytes).padStart(7)}  ${title}`);
}
