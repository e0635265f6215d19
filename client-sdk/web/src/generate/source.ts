/** TypeScript from the broker's schema: what `collectionsOf` needs of it, as a module. */
import { Schema, type CollectionSchema } from '../protocol/schema.js';

/** The module of a document of SCHEMA-3 (`GET /schema`). Throws `BadValueError` or `MalformedError`. */
export function sourceOf(document: string): string {
  const schema = Schema.fromDocument(document);
  const lines = schema.collections.map((name) => lineOf(name, schema.collection(name)));
  return [
    "// Written by `syncline-types` from the broker's schema. To change it, change that and write this anew.",
    "import { defineSchema } from '@syncline/client';",
    '',
    `/** Schema ${schema.hash}. */`,
    'export const schema = defineSchema({',
    '  collections: {',
    ...lines,
    '  },',
    '});',
    '',
  ].join('\n');
}

function lineOf(name: string, definition: CollectionSchema | undefined): string {
  const { kind, value, list } = definition ?? {};
  const shape = Object.entries({ kind, ...(kind === 'list' ? { value, list } : {}) });
  const words = shape.flatMap(([word, text]) => (text === undefined ? [] : [`${word}: ${quoted(text)}`]));
  return `    ${/^[A-Za-z_]\w*$/.test(name) ? name : quoted(name)}: { ${words.join(', ')} },`;
}

/** Names of a schema may hold what ends a text. */
function quoted(text: string): string {
  return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
}
