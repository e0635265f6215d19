// Compares canonical forms, digests and merges with another implementation's. Reads JSON lines, writes one line each:
//
//   {"value": <value>}                                   -> the hex of its canonical MessagePack
//   {"collection": c, "key": k, "entry": <map>}          -> the entry's digest, 32 hex digits
//   {"schema": <map of SCHEMA-2>, "events": [<event>…]}  -> the digest of the state after these events
//
// Entries and events are in JSON form: `device_uuid` as text. What breaks a rule gives "refused <rule>".
// Run it after `npm run build`, or with it:   npm run --silent differential < lines
import { createInterface } from 'node:readline';
import {
  decodeEvent,
  digestText,
  encodeCanonical,
  entryDigest,
  fromJson,
  Schema,
  State,
  toHex,
  toValue,
  uuidBytes,
} from '../dist/protocol/index.js';

/** Room for the request around what it carries: a value may be 32 deep by itself. */
const REQUEST_DEPTH = 36;

function answer(line) {
  try {
    const request = fromJson(line, REQUEST_DEPTH);
    if ('value' in request) return toHex(encodeCanonical(toValue(request.value)));
    if ('events' in request) return stateDigest(request.schema, request.events);
    return digestText(entryDigest(request.collection, request.key, onWire(request.entry)));
  } catch (error) {
    return `refused ${error.rule ?? error.message}`;
  }
}

function stateDigest(schema, events) {
  const state = new State(Schema.fromMap(schema));
  for (const event of events) state.apply(decodeEvent(encodeCanonical(onWire(event))));
  return state.digest();
}

function onWire(map) {
  return { ...map, device_uuid: uuidBytes(map.device_uuid) };
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line !== '') process.stdout.write(`${answer(line)}\n`);
}
