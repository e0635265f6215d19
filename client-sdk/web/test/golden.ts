/** The golden files of the protocol, which the Rust tests read too. */
import { readFileSync } from 'node:fs';
import { Schema } from '../src/protocol/schema.js';

const FOLDER = new URL('../../../protocol/golden/', import.meta.url);

/** A golden file by its name without `.json`. The shape is the caller's to know. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as T;
}

/** The schema of the golden states: starred albums and tracks. */
export function starSchema(): Schema {
  return Schema.fromDocument(schemaDocument(0));
}

/** The document of a golden schema. */
export function schemaDocument(which: number): string {
  return golden<{ schemas: { document: string }[] }>('schemas').schemas[which]?.document ?? '';
}

/** Which golden schema is the shipped music library's, with every kind. */
export const MUSIC = 2;
