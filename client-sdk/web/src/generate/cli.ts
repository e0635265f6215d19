#!/usr/bin/env node
/** `syncline-types < schema.json > schema.ts` */
import { readFileSync } from 'node:fs';
import { sourceOf } from './source.js';

const STDIN = 0;

try {
  process.stdout.write(sourceOf(readFileSync(STDIN, 'utf8')));
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  process.stderr.write(
    `syncline-types: ${reason}\n  It reads what the broker serves: curl -s http://127.0.0.1:8080/schema | syncline-types > schema.ts\n`,
  );
  process.exitCode = 1;
}
