/** The golden files of the protocol, which the Rust tests read too. */
import { readFileSync } from 'node:fs';
import { Schema } from '../src/protocol/schema.js';

const FOLDER = new URL('../../../protocol/golden/', import.meta.url);

/** A golden file by its name without `.json`. The shape is the caller's to know. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as T;
}

/** The schema of the golden states. */
export function musicSchema(): Schema {
  const { schemas } = golden<{ schemas: { document: string }[] }>('schemas');
  return Schema.fromDocument(schemas[0]?.document ?? '');
}
