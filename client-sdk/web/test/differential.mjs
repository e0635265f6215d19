// Compares canonical forms and digests with another implementation's. Reads JSON lines, writes one line for each:
//
//   {"value": <value>}                            -> the hex of its canonical MessagePack
//   {"collection": c, "key": k, "entry": <map>}   -> the entry's digest, 32 hex digits (device_uuid as $bytes)
//   {"value": …} that breaks a rule               -> "refused <rule>"
//
// Run it after `npm run build`:   node test/differential.mjs < lines
import { createInterface } from 'node:readline';
import { digestText, encodeCanonical, entryDigest, fromJson, toHex } from '../dist/protocol/index.js';

/** The request itself is one level around the value. */
const ENVELOPE_DEPTH = 33;

function answer(line) {
  try {
    const request = fromJson(line, ENVELOPE_DEPTH);
    if ('value' in request) return toHex(encodeCanonical(request.value));
    return digestText(entryDigest(request.collection, request.key, request.entry));
  } catch (error) {
    return `refused ${error.rule ?? error.message}`;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line !== '') process.stdout.write(`${answer(line)}\n`);
}
